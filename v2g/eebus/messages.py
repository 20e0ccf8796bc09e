"""Datagrams of SPINE 1.3: the members that LPC, LPP, MPC, heartbeats and node management use, in schema order."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.eebus.json_form import Element, Tag

VERSION: Final = "1.3.0"

Text = Annotated[str, Meta(max_length=4096)]
Id = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Counter = Annotated[int, Meta(ge=0)]

OK, GENERAL, UNKNOWN_DESTINATION, NOT_SUPPORTED, REJECTED, NOT_COMBINED, NEEDS_BINDING = 0, 1, 4, 6, 7, 8, 9
"""errorNumber of a result."""


class Address(Element, frozen=True):
    """The address of a device, an entity or a feature."""

    device: Text | None = None
    entity: Annotated[tuple[Id, ...], Meta(max_length=8)] | None = None
    feature: Id | None = None

    @property
    def local(self) -> tuple[tuple[int, ...], int]:
        """Entity and feature; node management's if absent."""
        return self.entity or (0,), self.feature or 0


Classifier = Literal["read", "reply", "notify", "write", "call", "result"]


class Header(Element, frozen=True, kw_only=True):
    """The header of a datagram."""

    specification_version: Text | None = None
    address_source: Address
    address_destination: Address
    address_originator: Address | None = None
    msg_counter: Counter
    msg_counter_reference: Counter | None = None
    cmd_classifier: Classifier
    ack_request: bool | None = None
    timestamp: Text | None = None


class ScaledNumber(Element, frozen=True):
    """number · 10^scale; without scale 10^0."""

    number: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    scale: Annotated[int, Meta(ge=-128, le=127)] | None = None

    @property
    def value(self) -> float:
        """The number; magnitudes beyond 10^15 are that."""
        number = self.number or 0
        if not number:
            return 0.0
        scaled = number * 10.0 ** max(-60, min(60, self.scale or 0))
        return max(-1e15, min(1e15, scaled))


def scaled(value: float, digits: int = 0) -> ScaledNumber:
    """Return a number with so many digits behind the point: none, as W and Wh are."""
    return ScaledNumber(number=round(value * 10**digits), scale=-digits)


class TimePeriod(Element, frozen=True):
    """Begin and end: a duration from the receipt on, or a time."""

    start_time: Text | None = None
    end_time: Text | None = None


class Limit(Element, frozen=True):
    """An item of loadControlLimitListData."""

    limit_id: Id | None = None
    is_limit_changeable: bool | None = None
    is_limit_active: bool | None = None
    time_period: TimePeriod | None = None
    value: ScaledNumber | None = None


class LimitDescription(Element, frozen=True):
    """An item of loadControlLimitDescriptionListData."""

    limit_id: Id | None = None
    limit_type: Text | None = None
    limit_category: Text | None = None
    limit_direction: Text | None = None
    measurement_id: Id | None = None
    unit: Text | None = None
    scope_type: Text | None = None


class LimitTags(Element, frozen=True):
    """Members of a limit that a delete filter names."""

    limit_id: Tag | None = None
    is_limit_changeable: Tag | None = None
    is_limit_active: Tag | None = None
    time_period: Tag | None = None
    value: Tag | None = None


class LimitSelector(Element, frozen=True):
    """Which limits a filter concerns."""

    limit_id: Id | None = None


class KeyValue(Element, frozen=True):
    """The value of a configuration key."""

    duration: Text | None = None
    scaled_number: ScaledNumber | None = None


class ConfigurationValue(Element, frozen=True):
    """An item of deviceConfigurationKeyValueListData."""

    key_id: Id | None = None
    value: KeyValue | None = None
    is_value_changeable: bool | None = None


class ConfigurationDescription(Element, frozen=True):
    """An item of deviceConfigurationKeyValueDescriptionListData."""

    key_id: Id | None = None
    key_name: Text | None = None
    value_type: Text | None = None
    unit: Text | None = None


class KeySelector(Element, frozen=True):
    """Which keys a filter concerns."""

    key_id: Id | None = None


class Characteristic(Element, frozen=True):
    """An item of electricalConnectionCharacteristicListData."""

    electrical_connection_id: Id | None = None
    parameter_id: Id | None = None
    characteristic_id: Id | None = None
    characteristic_context: Text | None = None
    characteristic_type: Text | None = None
    value: ScaledNumber | None = None
    unit: Text | None = None


class ConnectionDescription(Element, frozen=True):
    """An item of electricalConnectionDescriptionListData."""

    electrical_connection_id: Id | None = None
    power_supply_type: Text | None = None
    positive_energy_direction: Text | None = None


class ParameterDescription(Element, frozen=True):
    """An item of electricalConnectionParameterDescriptionListData."""

    electrical_connection_id: Id | None = None
    parameter_id: Id | None = None
    measurement_id: Id | None = None
    voltage_type: Text | None = None
    ac_measured_phases: Text | None = None
    ac_measured_in_reference_to: Text | None = None
    ac_measurement_type: Text | None = None
    ac_measurement_variant: Text | None = None


class MeasurementDescription(Element, frozen=True):
    """An item of measurementDescriptionListData."""

    measurement_id: Id | None = None
    measurement_type: Text | None = None
    commodity_type: Text | None = None
    unit: Text | None = None
    scope_type: Text | None = None


class MeasurementConstraints(Element, frozen=True):
    """An item of measurementConstraintsListData."""

    measurement_id: Id | None = None
    value_range_min: ScaledNumber | None = None
    value_range_max: ScaledNumber | None = None


class Measurement(Element, frozen=True):
    """An item of measurementListData."""

    measurement_id: Id | None = None
    value_type: Text | None = None
    timestamp: Text | None = None
    value: ScaledNumber | None = None
    value_source: Text | None = None
    value_state: Text | None = None


class Heartbeat(Element, frozen=True):
    """deviceDiagnosisHeartbeatData."""

    timestamp: Text | None = None
    heartbeat_counter: Counter | None = None
    heartbeat_timeout: Text | None = None


class Manufacturer(Element, frozen=True):
    """deviceClassificationManufacturerData."""

    device_name: Text | None = None
    device_code: Text | None = None
    serial_number: Text | None = None
    software_revision: Text | None = None
    vendor_name: Text | None = None
    brand_name: Text | None = None


# -- node management


class Operation(Element, frozen=True):
    """That a function can be read or written; `partial`: also in part."""

    partial: Tag | None = None


class Operations(Element, frozen=True):
    """What can be done with a function."""

    read: Operation | None = None
    write: Operation | None = None


class Supported(Element, frozen=True):
    """A function of a feature."""

    function: Text | None = None
    possible_operations: Operations | None = None


class VersionList(Element, frozen=True):
    """Versions of SPINE."""

    specification_version: tuple[Text, ...] = ()


class DeviceDescription(Element, frozen=True):
    """A device."""

    device_address: Address | None = None
    device_type: Text | None = None
    network_feature_set: Text | None = None


class EntityDescription(Element, frozen=True):
    """An entity."""

    entity_address: Address | None = None
    entity_type: Text | None = None
    last_state_change: Text | None = None


class FeatureDescription(Element, frozen=True):
    """A feature."""

    feature_address: Address | None = None
    feature_type: Text | None = None
    role: Text | None = None
    supported_function: tuple[Supported, ...] | None = None


class DeviceInformation(Element, frozen=True):
    """See DeviceDescription."""

    description: DeviceDescription | None = None


class EntityInformation(Element, frozen=True):
    """See EntityDescription."""

    description: EntityDescription | None = None


class FeatureInformation(Element, frozen=True):
    """See FeatureDescription."""

    description: FeatureDescription | None = None


class DetailedDiscovery(Element, frozen=True):
    """nodeManagementDetailedDiscoveryData."""

    specification_version_list: VersionList | None = None
    device_information: DeviceInformation | None = None
    entity_information: tuple[EntityInformation, ...] | None = None
    feature_information: tuple[FeatureInformation, ...] | None = None


class UseCase(Element, frozen=True):
    """A use case of an actor."""

    use_case_name: Text | None = None
    use_case_version: Text | None = None
    use_case_available: bool | None = None
    scenario_support: tuple[Id, ...] | None = None
    use_case_document_sub_revision: Text | None = None


class UseCaseInformation(Element, frozen=True):
    """The use cases of an actor at an address."""

    address: Address | None = None
    actor: Text | None = None
    use_case_support: tuple[UseCase, ...] | None = None


class UseCaseData(Element, frozen=True):
    """nodeManagementUseCaseData."""

    use_case_information: tuple[UseCaseInformation, ...] | None = None


class Relation(Element, frozen=True):
    """A subscription or binding that is asked for or ended."""

    client_address: Address | None = None
    server_address: Address | None = None
    server_feature_type: Text | None = None


class SubscriptionRequest(Element, frozen=True):
    """nodeManagementSubscriptionRequestCall."""

    subscription_request: Relation | None = None


class SubscriptionDelete(Element, frozen=True):
    """nodeManagementSubscriptionDeleteCall."""

    subscription_delete: Relation | None = None


class BindingRequest(Element, frozen=True):
    """nodeManagementBindingRequestCall."""

    binding_request: Relation | None = None


class BindingDelete(Element, frozen=True):
    """nodeManagementBindingDeleteCall."""

    binding_delete: Relation | None = None


class SubscriptionEntry(Element, frozen=True):
    """A subscription in force."""

    subscription_id: Id | None = None
    client_address: Address | None = None
    server_address: Address | None = None


class SubscriptionData(Element, frozen=True):
    """nodeManagementSubscriptionData."""

    subscription_entry: tuple[SubscriptionEntry, ...] | None = None


class BindingEntry(Element, frozen=True):
    """A binding in force."""

    binding_id: Id | None = None
    client_address: Address | None = None
    server_address: Address | None = None


class BindingData(Element, frozen=True):
    """nodeManagementBindingData."""

    binding_entry: tuple[BindingEntry, ...] | None = None


class Destination(Element, frozen=True):
    """See DeviceDescription."""

    device_description: DeviceDescription | None = None


class DestinationList(Element, frozen=True):
    """nodeManagementDestinationListData."""

    node_management_destination_data: tuple[Destination, ...] | None = None


# -- lists of functions, and the command


class LimitList(Element, frozen=True):
    """loadControlLimitListData."""

    load_control_limit_data: tuple[Limit, ...] | None = None


class LimitDescriptionList(Element, frozen=True):
    """loadControlLimitDescriptionListData."""

    load_control_limit_description_data: tuple[LimitDescription, ...] | None = None


class ConfigurationList(Element, frozen=True):
    """deviceConfigurationKeyValueListData."""

    device_configuration_key_value_data: tuple[ConfigurationValue, ...] | None = None


class ConfigurationDescriptionList(Element, frozen=True):
    """deviceConfigurationKeyValueDescriptionListData."""

    device_configuration_key_value_description_data: tuple[ConfigurationDescription, ...] | None = None


class CharacteristicList(Element, frozen=True):
    """electricalConnectionCharacteristicListData."""

    electrical_connection_characteristic_data: tuple[Characteristic, ...] | None = None


class ConnectionDescriptionList(Element, frozen=True):
    """electricalConnectionDescriptionListData."""

    electrical_connection_description_data: tuple[ConnectionDescription, ...] | None = None


class ParameterDescriptionList(Element, frozen=True):
    """electricalConnectionParameterDescriptionListData."""

    electrical_connection_parameter_description_data: tuple[ParameterDescription, ...] | None = None


class MeasurementDescriptionList(Element, frozen=True):
    """measurementDescriptionListData."""

    measurement_description_data: tuple[MeasurementDescription, ...] | None = None


class MeasurementConstraintsList(Element, frozen=True):
    """measurementConstraintsListData."""

    measurement_constraints_data: tuple[MeasurementConstraints, ...] | None = None


class MeasurementList(Element, frozen=True):
    """measurementListData."""

    measurement_data: tuple[Measurement, ...] | None = None


class Result(Element, frozen=True):
    """resultData."""

    error_number: Id | None = None
    description: Text | None = None


class Control(Element, frozen=True):
    """What a filter does."""

    delete: Tag | None = None
    partial: Tag | None = None


class Filter(Element, frozen=True):
    """Restricted exchange: which items, and which of their members."""

    cmd_control: Control | None = None
    load_control_limit_list_data_selectors: LimitSelector | None = None
    device_configuration_key_value_list_data_selectors: KeySelector | None = None
    load_control_limit_data_elements: LimitTags | None = None


class Cmd(Element, frozen=True):
    """A command: the data of one function."""

    function: Text | None = None
    filter: tuple[Filter, ...] | None = None
    result_data: Result | None = None
    node_management_detailed_discovery_data: DetailedDiscovery | None = None
    node_management_use_case_data: UseCaseData | None = None
    node_management_subscription_data: SubscriptionData | None = None
    node_management_subscription_request_call: SubscriptionRequest | None = None
    node_management_subscription_delete_call: SubscriptionDelete | None = None
    node_management_binding_data: BindingData | None = None
    node_management_binding_request_call: BindingRequest | None = None
    node_management_binding_delete_call: BindingDelete | None = None
    node_management_destination_list_data: DestinationList | None = None
    device_classification_manufacturer_data: Manufacturer | None = None
    device_diagnosis_heartbeat_data: Heartbeat | None = None
    load_control_limit_description_list_data: LimitDescriptionList | None = None
    load_control_limit_list_data: LimitList | None = None
    device_configuration_key_value_description_list_data: ConfigurationDescriptionList | None = None
    device_configuration_key_value_list_data: ConfigurationList | None = None
    electrical_connection_description_list_data: ConnectionDescriptionList | None = None
    electrical_connection_parameter_description_list_data: ParameterDescriptionList | None = None
    electrical_connection_characteristic_list_data: CharacteristicList | None = None
    measurement_description_list_data: MeasurementDescriptionList | None = None
    measurement_constraints_list_data: MeasurementConstraintsList | None = None
    measurement_list_data: MeasurementList | None = None

    @property
    def name(self) -> str:
        """The function; "" for one that is not declared here."""
        return next((name for name, place in FUNCTIONS.items() if getattr(self, place) is not None), "")

    @property
    def data(self) -> Element | None:
        """The function's data; None for one that is not declared here."""
        data: Element | None = getattr(self, FUNCTIONS[name]) if (name := self.name) else None
        return data


FUNCTIONS: Final = {
    each.encode_name: each.name for each in msgspec.structs.fields(Cmd) if each.name not in ("function", "filter")
}
"""Function -> its member of a command."""


def command(function: str, data: Element | None = None) -> Cmd:
    """Return a command; without data it reads."""
    return msgspec.structs.replace(Cmd(), **{FUNCTIONS[function]: Element() if data is None else data})


class Payload(Element, frozen=True):
    """The payload of a datagram."""

    cmd: Annotated[tuple[Cmd, ...], Meta(min_length=1, max_length=16)]


class HeaderOnly(Element, frozen=True):
    """A datagram whose payload may be anything."""

    header: Header


class Datagram(Element, frozen=True):
    """A datagram."""

    header: Header
    payload: Payload


class DatagramMessage(Element, frozen=True):
    """A datagram as the data of SHIP."""

    datagram: Datagram


class HeaderMessage(Element, frozen=True):
    """See HeaderOnly."""

    datagram: HeaderOnly
