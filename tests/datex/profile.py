"""What AFIR's recharging profile 01-00-00 for DATEX II v3 (JSON) allows and demands, of what is published here.

Facts of its public JSON schemas, read at github.com/MobilithekDE/AFIR-DATEX-II-Recharging-Profil (d264090, which has no
licence, so that they are not here): each type with the members that we use. `!` marks those that must be there, `[]`
lists, `[]!` lists with at least one. No type may have other members than its schema has; what is not in this table has
to be looked up there first.
"""

from typing import Any, Final

TYPES: Final[dict[str, dict[str, str]]] = {
    "D2Payload": {"payload": "Payload"},
    "Container": {"messageContainer": "MessageContainer"},
    "MessageContainer": {"payload[]": "Payload", "exchangeInformation!": "ExchangeInformation"},
    "ExchangeInformation": {"exchangeContext!": "ExchangeContext", "dynamicInformation!": "DynamicInformation"},
    "ExchangeContext": {"codedExchangeProtocol!": "=snapshotPush", "exchangeSpecificationVersion!": "String",
                        "supplierOrCisRequester!": "Agent"},
    "Agent": {"internationalIdentifier": "Identifier"},
    "DynamicInformation": {"exchangeStatus!": "=online", "messageGenerationTimestamp!": "DateTime"},
    "Payload": {"modelBaseVersionG!": "String", "profileNameG": "String", "profileVersionG": "String",
                "aegiEnergyInfrastructureTablePublication": "TablePublication",
                "aegiEnergyInfrastructureStatusPublication": "StatusPublication"},
    "Identifier": {"country!": "CountryCode", "nationalIdentifier!": "String"},
    "TablePublication": {"lang!": "Language", "publicationTime!": "DateTime", "publicationCreator!": "Identifier",
                         "energyInfrastructureTable[]!": "Table"},
    "Table": {"idG!": "String", "versionG!": "String", "energyInfrastructureSite[]!": "Site"},
    "Site": {"idG!": "String", "versionG!": "String", "name": "Text", "operatingHours": "Hours",
             "locationReference": "Location", "operator": "Organisation", "helpdesk": "Organisation",
             "dedicatedParkingSpaces[]": "Parking",
             "energyInfrastructureStation[]": "Station"},
    "Text": {"values[]": "TextValue"},
    "TextValue": {"lang!": "Language", "value!": "String"},
    "Organisation": {"afacAnOrganisation": "AnOrganisation"},
    "Parking": {"idG!": "String", "versionG!": "String", "numberOfSpaces!": "Count",
                "userSpecific[]": "=personsWithDisabilities"},
    "AnOrganisation": {"name!": "Text", "legalName": "Text", "externalIdentifier[]": "OperatorId",
                       "organisationUnit[]": "Unit"},
    "OperatorId": {"identifier!": "String", "typeOfIdentifier": "OperatorIdKind"},
    "OperatorIdKind": {"value!": "'extendedG", "extendedValueG": "'operatorId"},
    "Unit": {"name": "Text", "contactInformation[]": "Contact"},
    "Contact": {"afacContactInformation": "ContactInformation"},
    "ContactInformation": {"telephoneNumber": "String"},
    "Hours": {"afacOpenAllHours": "Empty", "afacOperatingHoursSpecification": "HoursSpecification"},
    "Empty": {},
    "HoursSpecification": {"idG!": "String", "versionG!": "String", "operatingAllYear": "Boolean",
                           "overallPeriod!": "OverallPeriod"},
    "OverallPeriod": {"overallStartTime!": "DateTime", "overallEndTime": "DateTime", "validPeriod[]": "Period"},
    "Period": {"recurringTimePeriodOfDay[]": "TimePeriodOfDay", "recurringDayWeekMonthPeriod[]": "Days"},
    "TimePeriodOfDay": {"startTimeOfPeriod!": "Time", "endTimeOfPeriod!": "Time"},
    "Days": {"comDayWeekMonth": "DayWeekMonth"},
    "DayWeekMonth": {"applicableDay[]": "=monday tuesday wednesday thursday friday saturday sunday"},
    "Location": {"locPointLocation": "PointLocation"},
    "PointLocation": {"coordinatesForDisplay": "Coordinates", "pointByCoordinates": "PointByCoordinates",
                      "locLocationExtensionG": "LocationExtension"},
    "PointByCoordinates": {"pointCoordinates!": "Coordinates"},
    "Coordinates": {"latitude!": "Number", "longitude!": "Number"},
    "LocationExtension": {"FacilityLocation": "FacilityLocation"},
    "FacilityLocation": {"timeZone": "Offset", "address": "Address", "nutsArea[]": "NutsArea"},
    "NutsArea": {"nutsCodeType!": "=nuts1Code nuts2Code nuts3Code", "nutsCode!": "NutsCode"},
    "Address": {"postcode": "String", "city": "Text", "countryCode": "CountryCode", "addressLine[]": "AddressLine"},
    "AddressLine": {"order!": "Count", "type!": "=street houseNumber generalTextLine", "text!": "Text"},
    "Station": {"idG!": "String", "versionG!": "String", "totalMaximumPower!": "Number",
                "numberOfRefillPoints!": "Count", "operator": "Organisation", "serviceType[]!": "ServiceType",
                "refillPoint[]": "RefillPoint",
                "authenticationAndIdentificationMethods[]": "=apps creditCard debitCard nfc pinpad plc rfid website"},
    "ServiceType": {"serviceType!": "=physicalAttendance unattended"},
    "RefillPoint": {"aegiElectricChargingPoint": "ChargingPoint"},
    "ChargingPoint": {
        "idG!": "String", "versionG!": "String", "deliveryUnit!": "=kWh", "currentType!": "=ac dc",
        "externalIdentifier[]": "EvseId", "vehicleToGridCommunicationType[]": "=none iso15118 iec619802 other unknown",
        "numberOfConnectors": "Count", "availableVoltage[]": "Number", "availableChargingPower[]": "Number",
        "smartRechargingServices[]": "=remoteMonitoring powerOptimisationByUser bidirectionalRecharging plugAndCharge",
        "connector[]": "Connector", "electricEnergy[]": "Energy",
    },
    "EvseId": {"identifier!": "String", "typeOfIdentifier": "EvseIdKind"},
    "EvseIdKind": {"value!": "'extendedG", "extendedValueG": "'evseId"},
    "Connector": {
        "connectorType!": "=cee3 cee5 chademo yazaki domestic domesticA domesticB domesticC domesticD domesticE "
                          "domesticF domesticG domesticH domesticI domesticJ domesticK domesticL domesticM domesticN "
                          "domesticO iec60309x2three16 iec60309x2three32 iec60309x2three64 iec60309x2single16 "
                          "iec62196T1 iec62196T1COMBO iec62196T2 iec62196T2COMBO iec62196T3A iec62196T3C mcs "
                          "pantographBottomUp pantographTopDown teslaConnectorEurope teslaConnectorAmerica teslaR "
                          "teslaS other",
        "otherConnector": "String", "connectorFormat": "=cableMode2 cableMode3 otherCable socket",
        "maxPowerAtSocket!": "Number", "voltage": "Number", "maximumCurrent": "Number",
    },
    "Energy": {"energyRate[]": "Rate", "isGreenEnergy": "Boolean"},
    "Rate": {"idG!": "String", "ratePolicy!": "=contract adHoc", "lastUpdated!": "DateTime",
             "applicableCurrency[]!": "Currency", "maximumDeliveryFee": "Number", "minimumDeliveryFee": "Number",
             "energyPrice[]": "Price"},
    "Price": {"priceType!": "=pricePerMinute pricePerKWh basePrice flatRate free other", "value!": "Number",
              "taxIncluded": "Boolean", "taxRate": "Number", "overallPeriod": "OverallPeriod",
              "timeBasedApplicability": "Minutes", "energyBasedApplicability": "KilowattHours"},
    "Minutes": {"fromMinute": "Count", "toMinute": "Count"},
    "KilowattHours": {"fromKWh": "Count", "toKWh": "Count"},
    "StatusPublication": {"lang!": "Language", "publicationTime!": "DateTime", "publicationCreator!": "Identifier",
                          "tableReference[]": "Reference", "energyInfrastructureSiteStatus[]": "SiteStatus"},
    "Reference": {"targetClass!": "String", "idG!": "String", "versionG": "String"},
    "SiteStatus": {"reference!": "Reference", "lastUpdated": "DateTime",
                   "energyInfrastructureStationStatus[]": "StationStatus"},
    "StationStatus": {"reference!": "Reference", "refillPointStatus[]": "PointStatus"},
    "PointStatus": {"aegiElectricChargingPointStatus": "ChargingPointStatus"},
    "ChargingPointStatus": {"reference!": "Reference", "lastUpdated": "DateTime",
                            "status!": "=available blocked charging faulted inoperative occupied outOfOrder outOfStock "
                                       "planned removed reserved unavailable unknown"},
}  # fmt: skip

_PLAIN: Final[dict[str, dict[str, Any]]] = {
    "String": {"type": "string", "maxLength": 1024}, "Number": {"type": "number"}, "Boolean": {"type": "boolean"},
    "Count": {"type": "integer", "minimum": 0}, "DateTime": {"type": "string", "format": "date-time"},
    "Time": {"type": "string", "format": "time"}, "Language": {"type": "string", "pattern": "^[a-z]{2}$"},
    "CountryCode": {"type": "string", "maxLength": 2}, "Currency": {"type": "string", "pattern": "[A-Z][A-Z][A-Z]"},
    "NutsCode": {"type": "string", "maxLength": 5}, "Offset": {"type": "string", "pattern": "^[+-][0-9]{2}:[0-9]{2}$"},
}  # fmt: skip


def schema(root: str) -> dict[str, Any]:
    """Return a JSON schema of one of these types."""
    return {"$ref": f"#/$defs/{root}", "$defs": {**_PLAIN, **{name: _type(each) for name, each in TYPES.items()}}}


def _type(members: dict[str, str]) -> dict[str, Any]:
    found, required = {}, []
    for name, kind in members.items():
        bare = name.rstrip("!").removesuffix("[]")
        if name.endswith("!"):
            required.append(bare)
        one = _kind(kind)
        least = {"minItems": 1} if name.endswith("[]!") else {}
        found[bare] = {"type": "array", "items": one, **least} if "[]" in name else one
    return {"type": "object", "properties": found, "required": required, "additionalProperties": False}


def _kind(kind: str) -> dict[str, Any]:
    """Return a type by name, an enumeration as DATEX II has it (`=`), or a fixed text (`'`)."""
    if kind.startswith("'"):
        return {"const": kind[1:]}
    if kind.startswith("="):
        value = {"value": {"enum": kind[1:].split()}}
        return {"type": "object", "properties": value, "required": ["value"], "additionalProperties": False}
    return {"$ref": f"#/$defs/{kind}"}
