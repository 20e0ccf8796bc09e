"""Which modules have mutants, which tests have to notice them, and which mutants cannot be noticed, and why."""

from collections.abc import Mapping
from typing import Final

import msgspec


class Target(msgspec.Struct, frozen=True):
    """A module and its own tests. `cpu_s` is what these may calculate with a mutant."""

    path: str
    tests: tuple[str, ...]
    cpu_s: float = 60.0

    @property
    def module(self) -> str:
        """The module's name."""
        return self.path.removesuffix(".py").replace("/", ".")


_MIRROR = (
    "tests/ocpp/v16/test_mirrored_messages.py",
    "tests/ocpp/v16/test_mirror.py",
    "tests/station/blocks/connection/test_ocpp16.py",
)

TARGETS: Final[Mapping[str, Target]] = {
    "charger": Target("v2g/safety/charger.py", ("tests/safety/test_charger.py",)),
    "derating": Target("v2g/battery/derating.py", ("tests/battery/test_derating.py",)),
    "grid_code": Target(
        "v2g/energy/grid_code.py", ("tests/energy/test_grid_code.py", "tests/energy/test_grid_guard.py")
    ),
    "grid_guard": Target("v2g/energy/grid_guard.py", ("tests/energy/test_grid_guard.py",)),
    "frequency_limit": Target(
        "v2g/energy/frequency_limit.py",
        tuple(f"tests/energy/test_{each}.py" for each in ("frequency_limit", "inverter", "grid_guard")),
    ),
    "grid_fees": Target("v2g/energy/grid_fees.py", ("tests/energy/test_grid_fees.py",)),
    "grid_code_watch": Target("secc/energy_manager/grid_code.py", ("tests/secc/test_grid_code.py",)),
    "mains_contactor": Target("secc/energy_manager/mains.py", ("tests/secc/energy_manager/test_mains.py",)),
    "manager_facts": Target("secc/energy_manager/facts.py", ("tests/secc/energy_manager/test_facts.py",)),
    "power_limitation": Target("v2g/eebus/limitation.py", ("tests/eebus/test_limitation.py",)),
    "grid_code_file": Target(
        "v2g/io/storage/grid_code_file.py", ("tests/cli/test_grid_code.py", "tests/secc/test_grid_code.py")
    ),
    "runaway": Target("v2g/battery/runaway.py", ("tests/battery/test_runaway.py",)),
    "imbalance": Target("v2g/battery/imbalance.py", ("tests/battery/test_imbalance.py",)),
    "battery_limits": Target("v2g/battery/limits.py", ("tests/battery/test_limits.py",)),
    "cusum": Target("v2g/battery/cusum.py", ("tests/battery/test_cusum.py",)),
    "finding": Target("v2g/battery/sample.py", ("tests/battery/test_finding.py",)),
    "plausible_amounts": Target(
        "csms/booking/plausibility.py",
        (
            "tests/csms/booking/test_plausibility.py",
            "tests/csms/booking/test_plausible_series.py",
            "tests/csms/booking/test_plausible_times.py",
            "tests/csms/booking/test_facts.py",
            "tests/csms/smart_charging/test_limits_in_force.py",
        ),
    ),
    "limits_in_force": Target(
        "csms/smart_charging/limits_in_force.py", ("tests/csms/smart_charging/test_limits_in_force.py",)
    ),
    "ocpp16_makes": Target("v2g/ocpp/v16/makes.py", ("tests/ocpp/v16/test_makes.py",)),
    "ocpp16_mirror": Target("v2g/ocpp/v16/mirror.py", _MIRROR),
    "ocpp16_to_back_end": Target("v2g/ocpp/v16/to_back_end.py", _MIRROR),
    "ocpp16_from_back_end": Target("v2g/ocpp/v16/from_back_end.py", _MIRROR),
    "grid_limits": Target("csms/grid/limits.py", ("tests/csms/grid/test_limits.py",)),
    "split": Target("v2g/energy/dispatch/split.py", ("tests/energy/dispatch/test_split.py",)),
    "twin": Target("v2g/battery/twin.py", ("tests/battery/test_twin.py",)),
    "detectors": Target("v2g/battery/detectors.py", ("tests/battery/test_detectors.py",)),
    "data_quality": Target("v2g/battery/data_quality.py", ("tests/battery/test_data_quality.py",)),
    "health": Target("v2g/battery/health.py", ("tests/battery/test_health.py",)),
    "session_metrics": Target("csms/session_metrics/rules.py", ("tests/csms/session_metrics/test_session_metrics.py",)),
    "charger_heat": Target("secc/hardware/heat.py", ("tests/secc/hardware/test_heat.py",)),
    "journal_file": Target("v2g/io/storage/journal_file.py", ("tests/io/storage/test_journal_file.py",)),
    "emergency_log": Target("v2g/io/storage/emergency_log.py", ("tests/io/storage/test_emergency_log.py",)),
    "releases": Target("v2g/ota/release.py", ("tests/ota/test_release.py",)),
    "trusted_releases": Target("v2g/io/ota/trusted.py", ("tests/io/ota/test_trusted.py",)),
    "repository": Target("v2g/io/ota/repository.py", ("tests/cli/test_ota.py", "tests/io/ota/test_trusted.py")),
    "charger_releases": Target("v2g/io/ota/releases.py", ("tests/io/ota/test_patches.py",)),
    "folder_installer": Target(
        "v2g/io/ota/folder_installer.py",
        ("tests/io/ota/test_installer.py", "tests/station/device/test_firmware.py"),
    ),
    "installer": Target("v2g/io/ota/installer.py", ("tests/io/ota/test_installer.py",)),
    "opening": Target(
        "v2g/io/ota/opening.py",
        (
            "tests/io/ota/test_own_installer.py",
            "tests/io/ota/test_installer.py",
        ),
    ),
    "follower": Target("v2g/io/ota/follower.py", ("tests/io/ota/test_follower.py",)),
    "unreadable": Target("v2g/io/ota/unreadable.py", ("tests/io/ota/test_unreadable.py",)),
    "site_access": Target("csms/http/site_access.py", ("tests/csms/api/test_site_access.py",)),
    "passkeys": Target("csms/accounts/passkeys.py", ("tests/csms/console/test_passkeys.py",)),
    "users": Target(
        "csms/accounts/work.py",
        ("tests/csms/services/security/test_users.py", "tests/csms/console/test_passkeys.py"),
    ),
    "nodes": Target("csms/nodes/store.py", ("tests/csms/db/test_nodes.py",)),
    "firmware": Target("v2g_station/device/firmware.py", ("tests/station/device/test_firmware_steps.py",), cpu_s=20.0),
    "firmware_updates": Target("v2g_station/blocks/firmware.py", ("tests/station/blocks/test_firmware.py",)),
    "firmware_publishing": Target(
        "v2g_station/blocks/firmware_publishing.py", ("tests/station/blocks/test_firmware_publishing.py",)
    ),
    "evse_core": Target("secc/evse/core.py", ("tests/secc/evse/test_core.py",)),
    "evse": Target(
        "secc/hardware/evse.py",
        tuple(f"tests/secc/hardware/test_{each}.py" for each in ("evse_duties", "self_test", "dc", "wpt")),
    ),
    "dc": Target("secc/hardware/dc.py", ("tests/secc/hardware/test_dc.py",)),
    "wpt": Target("secc/hardware/wpt.py", ("tests/secc/hardware/test_wpt.py",)),
    "acdp": Target("secc/hardware/acdp.py", ("tests/secc/hardware/test_acdp.py",)),
    "vehicle": Target("v2g/safety/vehicle.py", ("tests/safety/test_vehicle.py",)),
    "vehicle_channel": Target("evcc/hardware/safety.py", ("tests/evcc/hardware/test_safety.py",)),
    "vehicle_parts": Target("evcc/hardware/vehicle.py", ("tests/evcc/hardware/test_vehicle_steps.py",), cpu_s=10.0),
    "on_board_charger": Target("evcc/hardware/ac.py", ("tests/evcc/hardware/test_ac.py",)),
    "pack": Target(
        "evcc/hardware/pack.py",
        (
            "tests/evcc/hardware/test_pack.py",
            "tests/evcc/hardware/test_cells.py",
        ),
    ),
    "rails": Target(
        "evcc/hardware/couplings.py",
        (
            "tests/evcc/hardware/test_rails.py",
            "tests/evcc/hardware/test_coil.py",
        ),
    ),
    "drive": Target("evcc/hardware/drive.py", ("tests/evcc/hardware/test_drive.py",)),
    "discharge_policy": Target("evcc/policy/policy.py", ("tests/evcc/policy/test_policy.py",)),
    "battery_ecu": Target("evcc/hardware/ecu.py", ("tests/evcc/hardware/test_ecu.py",)),
    "output": Target(
        "v2g/safety/output.py",
        (
            "tests/safety/test_charger.py",
            "tests/safety/test_vehicle.py",
        ),
    ),
    "excess": Target("v2g/safety/excess.py", ("tests/safety/test_excess.py", "tests/safety/test_charger.py")),
    "flow": Target(
        "v2g/safety/flow.py",
        (
            "tests/safety/test_flow.py",
            "tests/safety/test_charger.py",
            "tests/safety/test_vehicle.py",
            "tests/safety/test_agreement.py",
        ),
    ),
    "interlock": Target(
        "v2g/hardware/interlock.py",
        ("tests/hardware/test_interlock.py", "tests/hardware/test_interlock_details.py"),
    ),
    "guard": Target("secc/session/guard.py", ("tests/secc/session/test_guard.py",)),
    "calibration": Target("secc/hardware/calibration.py", ("tests/secc/hardware/test_calibration.py",)),
    "safety_channel": Target(
        "secc/hardware/safety.py",
        tuple(f"tests/secc/hardware/test_{each}.py" for each in ("safety", "safety_inputs", "safety_parts", "heat")),
    ),
    "ac": Target("secc/hardware/ac.py", ("tests/secc/hardware/test_ac_limits.py",)),
    "plausibility": Target(
        "v2g/hardware/meters/plausibility.py",
        (
            "tests/hardware/meters/test_plausibility.py",
            "tests/hardware/meters/test_counter.py",
        ),
    ),
    "meter": Target("secc/hardware/meter.py", ("tests/secc/hardware/test_meter.py",)),
    "forwarding_monitor": Target(
        "secc/hardware/forwarding_monitor.py", ("tests/secc/hardware/test_forwarding_monitor.py",)
    ),
    "meter_remote": Target("secc/hardware/meter_remote.py", ("tests/secc/hardware/test_meter_remote.py",)),
    "maintenance": Target("secc/hardware/maintenance.py", ("tests/secc/hardware/test_maintenance_steps.py",)),
    "check_log": Target("secc/hardware/check_log.py", ("tests/secc/hardware/test_check_log.py",)),
    "hardware_config": Target(
        "secc/hardware/config.py",
        ("tests/secc/hardware/test_assembly.py", "tests/secc/hardware/test_drivers.py"),
    ),
    "parts": Target(
        "secc/hardware/assembly.py",
        ("tests/secc/hardware/test_assembly.py", "tests/secc/hardware/test_maintenance.py"),
    ),
    "simulated": Target(
        "secc/hardware/simulated.py",
        tuple(f"tests/secc/hardware/test_{each}.py" for each in ("simulated", "bench", "maintenance")),
    ),
    "simulated_drivers": Target(
        "secc/hardware/simulated_drivers.py",
        tuple(f"tests/secc/hardware/test_{each}.py" for each in ("assembly", "drivers")),
    ),
    "entry_points": Target(
        "v2g/io/entry_points.py", ("tests/io/ota/test_own_installer.py", "tests/secc/hardware/test_drivers.py")
    ),
    "drivers": Target("secc/hardware/drivers.py", ("tests/secc/hardware/test_drivers.py",)),
    "driver_guard": Target("secc/hardware/driver_guard.py", ("tests/secc/hardware/test_driver_guard.py",)),
    "watch": Target("evcc/session/watch.py", ("tests/evcc/session/test_watch_rules.py",)),
    "fault_file": Target("secc/hardware/fault_file.py", ("tests/secc/hardware/test_fault_file.py",)),
    "gpio": Target("v2g/io/hardware/gpio.py", ("tests/io/hardware/test_gpio.py",)),
    "d0": Target("v2g/io/hardware/d0.py", ("tests/io/hardware/test_d0_steps.py",), cpu_s=10.0),
    "modbus": Target("v2g/io/hardware/modbus.py", ("tests/io/hardware/test_modbus_steps.py",), cpu_s=15.0),
    "readings": Target("v2g/io/hardware/readings.py", ("tests/io/hardware/test_readings.py",)),
    "energy_modbus": Target("v2g/io/hardware/energy_modbus.py", ("tests/io/hardware/test_energy_modbus_steps.py",)),
    "energy_mqtt": Target("v2g/io/hardware/energy_mqtt.py", ("tests/io/hardware/test_energy_mqtt_steps.py",)),
    "energy_config": Target(
        "v2g/io/hardware/energy_config.py",
        tuple(f"tests/io/hardware/test_energy_{each}_steps.py" for each in ("modbus", "mqtt")),
    ),
    "line_display": Target("v2g/io/hardware/line_display.py", ("tests/io/hardware/test_line_display_steps.py",)),
    "pn532": Target("v2g/io/hardware/pn532.py", ("tests/io/hardware/test_pn532_steps.py",)),
    "zvt_terminal": Target(
        "v2g/io/hardware/zvt_terminal.py",
        ("tests/io/hardware/test_zvt_steps.py", "tests/io/hardware/test_zvt_terminal.py"),
    ),
    "zvt_config": Target("v2g/io/hardware/zvt_config.py", ("tests/io/hardware/test_zvt_steps.py",)),
    "linux_board": Target(
        "v2g/io/hardware/linux_board.py",
        (
            "tests/io/hardware/test_linux_board_steps.py",
            "tests/io/hardware/test_linux_board_parts.py",
            "tests/io/hardware/test_sysfs.py",
        ),
    ),
    "driver": Target("v2g/io/hardware/driver.py", ("tests/io/hardware/test_driver.py",)),
    "board": Target("v2g/io/hardware/board.py", ("tests/io/hardware/test_board.py",)),
    "modules": Target("v2g/io/hardware/modules.py", ("tests/io/hardware/test_modules.py",)),
    "gate": Target("v2g/energy/discharge_gate.py", ("tests/energy/test_gate.py",)),
    "sharing": Target("secc/energy_manager/sharing.py", ("tests/secc/energy_manager/test_sharing.py",)),
    "power": Target(
        "secc/session/power.py",
        (
            "tests/secc/session/test_power.py",
            "tests/secc/session/test_turnaround.py",
        ),
    ),
    "bookkeeping": Target("v2g/energy/settlement/bookkeeping.py", ("tests/energy/settlement/test_bookkeeping.py",)),
    "facts": Target("csms/booking/facts.py", ("tests/csms/booking/test_facts.py",)),
    "ledger": Target("csms/booking/ledger.py", ("tests/csms/db/test_ledger.py",)),
    "booking": Target("csms/booking/rules.py", ("tests/csms/booking/test_booking.py",)),
    "audit": Target("csms/books/audit.py", ("tests/csms/settlement/test_audit.py",)),
    "mandates": Target("csms/mandates/rules.py", ("tests/csms/mandates/test_mandates.py",)),
    "station_cache": Target(
        "v2g_station/blocks/authorization/cache.py", ("tests/station/blocks/authorization/test_cache.py",)
    ),
    "station_authorization": Target(
        "v2g_station/blocks/authorization/authorization.py",
        tuple(
            f"tests/{each}.py"
            for each in (
                "station/blocks/authorization/test_who_may_start",
                "station/blocks/authorization/test_authorization",
                "station/blocks/authorization/test_local_list",
                "station/blocks/test_authorization",
                "station/blocks/test_autocharge",
                "station/blocks/test_remote_control",
                "station/blocks/test_web_payment",
                "station/blocks/payment/test_terminal",
                "station/blocks/transactions/test_managed",
                "secc/station/test_contract",
            )
        ),
    ),
    "station_identifiers": Target("v2g_station/blocks/identifiers.py", ("tests/station/blocks/test_identifiers.py",)),
    "payment_settlement": Target(
        "v2g_station/blocks/payment/settlement.py", ("tests/station/blocks/payment/test_settlement.py",)
    ),
    "prequalifications": Target(
        "csms/prequalifications/rules.py", ("tests/csms/prequalifications/test_prequalification.py",)
    ),
    "permits": Target("csms/prequalifications/work.py", ("tests/csms/grid/test_export_permits.py",)),
    "priced": Target("v2g_station/blocks/cost/priced.py", ("tests/station/blocks/cost/test_priced.py",)),
    "tariffs": Target(
        "v2g_station/blocks/cost/tariffs.py",
        ("tests/station/blocks/cost/test_tariffs.py", "tests/station/blocks/cost/test_tariff_stories.py"),
    ),
    "local_cost": Target(
        "v2g_station/blocks/cost/local_cost.py",
        (
            "tests/station/blocks/cost/test_local_cost.py",
            "tests/station/blocks/cost/test_tariffs.py",
            "tests/station/blocks/cost/test_tariff_cost.py",
        ),
    ),
    "quotes": Target("v2g/pki/quote.py", ("tests/pki/test_quote.py",)),
    "ota_window": Target("v2g/ota/window.py", ("tests/ota/test_window.py",)),
    "sequential": Target("v2g/ota/sequential.py", ("tests/ota/test_sequential.py",)),
    "attestation_of_stations": Target(
        "csms/attestations/rules.py",
        tuple(f"tests/csms/{each}/test_attestation.py" for each in ("attestations", "ocpp")),
    ),
    "campaigns": Target(
        "csms/firmware/rules.py", tuple(f"tests/csms/firmware/test_{each}.py" for each in ("campaigns", "firmware"))
    ),
    "taxes": Target("v2g/energy/settlement/taxes.py", ("tests/energy/settlement/test_taxes.py",)),
    "price_plan": Target("v2g/energy/price_plan.py", ("tests/energy/test_price_plan.py",)),
    "pricing": Target("v2g/energy/settlement/pricing.py", ("tests/energy/settlement/test_pricing.py",)),
    "corrections": Target("v2g/energy/settlement/corrections.py", ("tests/energy/settlement/test_corrections.py",)),
    "operator": Target(
        "v2g/energy/settlement/operator.py",
        (
            "tests/energy/settlement/test_completeness.py",
            "tests/energy/settlement/test_corrections.py",
            "tests/energy/settlement/test_signed_prices.py",
        ),
    ),
    "checkpoints": Target("v2g/energy/settlement/checkpoints.py", ("tests/energy/settlement/test_checkpoints.py",)),
    "proof": Target("v2g/energy/settlement/proof.py", ("tests/energy/settlement/test_proof.py",)),
    "intervals": Target("v2g/energy/settlement/intervals.py", ("tests/energy/settlement/test_intervals.py",)),
    "costing": Target("v2g/energy/settlement/costing.py", ("tests/energy/settlement/test_costing.py",)),
    "reconcile": Target("v2g/energy/settlement/reconcile.py", ("tests/energy/settlement/test_reconcile.py",)),
    "transactions": Target(
        "csms/transactions/rules.py",
        tuple(
            f"tests/csms/transactions/test_{each}.py"
            for each in ("transactions", "transaction_checks", "meter_readings")
        ),
    ),
    "till": Target("v2g/hardware/zvt/till.py", ("tests/hardware/zvt/test_zvt.py",)),
    "access_rules": Target("csms/accounts/rules.py", ("tests/csms/accounts/test_access_rules.py",)),
    "roaming_rules": Target("csms/roaming/rules.py", ("tests/csms/roaming/test_rules.py",)),
    "webhook_rules": Target("csms/webhooks/rules.py", ("tests/csms/webhooks/test_rules.py",)),
    "station_security": Target("csms/station_security/rules.py", ("tests/csms/station_security/test_rules.py",)),
    "vehicle_rules": Target("csms/vehicles/rules.py", ("tests/csms/vehicles/test_rules.py",)),
    "station_clocks": Target("csms/stations/rules.py", ("tests/csms/stations/test_clocks.py",)),
    "command_rules": Target("csms/requests/rules.py", ("tests/csms/requests/test_rules.py",)),
    "overview_rules": Target("csms/overview/rules.py", ("tests/csms/overview/test_overview_rules.py",)),
    "device_model": Target("csms/device_model/rules.py", ("tests/csms/device_model/test_device_model.py",)),
    "grid_rules": Target(
        "csms/grid/rules.py", tuple(f"tests/csms/grid/test_{each}.py" for each in ("grid_sources", "rules"))
    ),
    "board_host": Target(
        "v2g/hardware/board/host.py", ("tests/hardware/board/test_board.py", "tests/hardware/board/test_host.py")
    ),
    "csr": Target("v2g/pki/csr.py", ("tests/pki/test_csr.py",)),
    "issue": Target("v2g/pki/issue.py", ("tests/pki/test_issue.py",)),
    "profiles": Target("v2g/pki/profiles.py", ("tests/pki/test_issue.py",)),
    "station_templates": Target("csms/station_templates/rules.py", ("tests/csms/station_templates/test_rules.py",)),
    "site_rules": Target(
        "csms/sites/rules.py", tuple(f"tests/csms/sites/test_{each}.py" for each in ("rules", "sites", "site_dispatch"))
    ),
    "fleet_rules": Target(
        "csms/fleets/rules.py", ("tests/csms/fleets/test_rules.py", "tests/csms/fleets/test_fleets.py")
    ),
    "telemetry_rules": Target(
        "csms/telemetry/rules.py", ("tests/csms/telemetry/test_rules.py", "tests/csms/telemetry/test_telemetry.py")
    ),
    "contract_rules": Target("csms/contracts/rules.py", ("tests/csms/contracts/test_rules.py",)),
    "trust_rules": Target(
        "csms/trust/rules.py", ("tests/csms/trust/test_rules.py", "tests/csms/contracts/test_status_urls.py")
    ),
    "board_inputs": Target("v2g/hardware/board/inputs.py", ("tests/hardware/board/test_inputs.py",)),
    "tariff_rules": Target("csms/tariffs/rules.py", ("tests/csms/tariffs/test_week.py",)),
    "record_judge": Target(
        "v2g/energy/meter_records/judge.py",
        (
            "tests/energy/meter_records/test_judge.py",
            "tests/energy/meter_records/test_other_formats.py",
            "tests/energy/meter_records/test_ocmf.py",
        ),
    ),
    "meter_keys": Target("v2g/energy/meter_records/keys.py", ("tests/energy/meter_records/test_keys.py",)),
    "dispute": Target("v2g/energy/settlement/dispute.py", ("tests/energy/settlement/test_dispute.py",)),
    "password_hash": Target("v2g/pki/password_hash.py", ("tests/pki/test_password_hash.py",)),
    "attestation": Target("v2g/pki/attestation.py", ("tests/pki/test_attestation.py",)),
    "balancing": Target("v2g/energy/balancing.py", ("tests/energy/test_balancing.py",)),
    "module_bank": Target(
        "v2g/hardware/power_modules/bank.py",
        (
            "tests/hardware/power_modules/test_bank.py",
            "tests/hardware/power_modules/test_bank_steps.py",
            "tests/hardware/power_modules/test_can_errors.py",
            "tests/hardware/power_modules/test_infypower.py",
            "tests/io/hardware/test_modules.py",
        ),
    ),
    "grid_support": Target("v2g/energy/grid_support.py", ("tests/energy/test_grid_support.py",)),
    "keys": Target(
        "v2g/pki/keys.py",
        ("tests/pki/test_keys.py", "tests/io/keys/test_secrets.py"),
    ),
    "certificates": Target("v2g/pki/certificates.py", ("tests/pki/test_certificates.py",)),
    "uptime": Target("csms/uptime/rules.py", ("tests/csms/uptime/test_rules.py",)),
    "pieces": Target("v2g/energy/settlement/pieces.py", ("tests/energy/settlement/test_pieces.py",)),
    "crl": Target("v2g/pki/crl.py", ("tests/pki/test_crl.py",)),
    "meter_alfen": Target(
        "v2g/energy/meter_records/text_records.py", ("tests/energy/meter_records/test_other_formats.py",)
    ),
    "signed_values": Target("csms/transactions/signed_values.py", ("tests/csms/transactions/test_signed_values.py",)),
    "ocmf": Target(
        "v2g/energy/settlement/ocmf.py",
        ("tests/energy/settlement/test_ocmf.py", "tests/energy/settlement/test_signed_meter.py"),
    ),
    "bundle": Target(
        "v2g/energy/settlement/bundle.py",
        tuple(
            f"tests/energy/settlement/test_{each}.py"
            for each in (
                "bundle",
                "older_contract",
                "checkpoints",
                "signed_meter",
                "completeness",
                "corrections",
                "authorization",
                "signed_prices",
            )
        ),
    ),
    "journal": Target(
        "v2g/energy/settlement/journal.py",
        ("tests/energy/settlement/test_journal.py", "tests/energy/settlement/test_registers.py"),
    ),
    "session_journal": Target(
        "v2g/energy/settlement/session_journal.py",
        ("tests/energy/settlement/test_session_journal.py", "tests/energy/settlement/test_registers.py"),
    ),
    "registers": Target("v2g/energy/settlement/registers.py", ("tests/energy/settlement/test_registers.py",)),
    "signed_meter": Target("v2g/energy/settlement/signed_meter.py", ("tests/energy/settlement/test_signed_meter.py",)),
    "settle": Target("v2g/energy/settlement/settle.py", ("tests/energy/settlement/test_settle.py",)),
    "revocation": Target("v2g/pki/revocation.py", ("tests/pki/test_revocation.py",)),
    "paths": Target("v2g/pki/paths.py", ("tests/pki/test_paths.py", "tests/pki/test_verify.py")),
    "verify": Target(
        "v2g/pki/verify.py",
        (
            "tests/pki/test_verify.py",
            "tests/pki/test_bad_certificates.py",
            "tests/pki/test_generations.py",
            "tests/pki/test_paths.py",
            "tests/pki/test_constraints.py",
        ),
    ),
    "conformity": Target(
        "v2g/pki/conformity.py",
        (
            "tests/pki/test_conformity.py",
            "tests/pki/test_profiles.py",
            "tests/pki/test_bad_certificates.py",
            "tests/pki/test_lint.py",
        ),
    ),
    "ocsp": Target("v2g/pki/ocsp.py", ("tests/pki/test_ocsp.py",)),
    "signed": Target("v2g/energy/signed.py", ("tests/energy/test_gate.py", "tests/energy/test_signed.py")),
    "grid_signal": Target("v2g/energy/grid_signal.py", ("tests/energy/test_grid_signal.py",)),
    "own_profiles": Target(
        "csms/smart_charging/rules.py",
        tuple(f"tests/csms/smart_charging/test_{each}.py" for each in ("own_profiles", "profiles", "rules")),
    ),
    "site_state": Target(
        "csms/sites/work.py",
        (
            "tests/csms/services/charging/test_site_state.py",
            "tests/csms/services/charging/test_balancing.py",
        ),
    ),
    "smart_charging": Target(
        "csms/smart_charging/work.py",
        (
            "tests/csms/services/charging/test_local_schedules.py",
            "tests/csms/services/charging/test_smart_charging.py",
            "tests/csms/services/charging/test_limit_course.py",
            "tests/csms/ocpp/test_smart_charging.py",
            "tests/csms/ocpp/test_vehicle_prices.py",
        ),
    ),
    "vehicle_prices": Target(
        "csms/tariffs/vehicle_prices.py", ("tests/csms/services/charging/test_vehicle_prices.py",)
    ),
    "der": Target("csms/dispatch/der.py", ("tests/csms/ocpp/test_der.py",)),
    "fleets": Target(
        "csms/fleets/work.py",
        tuple(f"tests/csms/services/charging/test_{each}.py" for each in ("fleets", "fleet_bids")),
    ),
    "dispatch": Target(
        "csms/dispatch/work.py",
        (
            *(
                f"tests/csms/services/charging/test_{each}.py"
                for each in ("dispatch", "dispatch_nodes", "dispatch_course", "grid_shares")
            ),
            "tests/csms/ocpp/test_der.py",
        ),
    ),
    "admission": Target(
        "csms/admission/rules.py",
        ("tests/csms/admission/test_admission_rules.py", "tests/csms/admission/test_passwords.py"),
    ),
    "journal_copy": Target(
        "csms/settlements/rules.py",
        ("tests/csms/settlements/test_session_course.py", "tests/csms/settlements/test_journal_copy.py"),
    ),
    "direct_payments": Target("csms/direct_payments/rules.py", ("tests/csms/direct_payments/test_payment_states.py",)),
    "set_points": Target("csms/dispatch/rules.py", ("tests/csms/dispatch/test_set_points.py",)),
    "tokens": Target(
        "csms/tokens/rules.py", ("tests/csms/tokens/test_token_answers.py", "tests/csms/tokens/test_local_lists.py")
    ),
    "qr_payment": Target("csms/payments/rules.py", ("tests/csms/payments/test_qr_payment.py",)),
    "alerts": Target(
        "csms/alerts/rules.py",
        (
            "tests/csms/alerts/test_alerts.py",
            "tests/csms/alerts/test_alert_rules.py",
        ),
    ),
    "vat": Target("csms/tariffs/vat_numbers.py", ("tests/csms/tariffs/test_vat_numbers.py",)),
    "authorization": Target(
        "v2g/energy/settlement/authorization.py",
        (
            "tests/energy/settlement/test_authorization.py",
            "tests/energy/settlement/test_confirmation.py",
        ),
    ),
    "section_14a": Target("v2g/energy/section_14a.py", ("tests/energy/test_section_14a.py",)),
    "curves": Target("v2g/energy/curves.py", ("tests/energy/test_curves.py",)),
    "conductors": Target("v2g/energy/conductors.py", ("tests/energy/test_conductors.py",)),
    "ride_through": Target("v2g/energy/ride_through.py", ("tests/energy/test_ride_through.py",)),
    "reservations": Target("csms/reservations/rules.py", ("tests/csms/reservations/test_reservations.py",)),
    "availability": Target("csms/remote_control/rules.py", ("tests/csms/remote_control/test_availability.py",)),
    "canonical": Target("v2g/energy/settlement/canonical.py", ("tests/energy/settlement/test_canonical.py",)),
    "records": Target(
        "v2g/energy/settlement/records.py",
        tuple(f"tests/energy/settlement/test_{each}.py" for each in ("journal", "records", "settle", "proof")),
    ),
    "limits": Target("v2g/energy/limits.py", ("tests/energy/test_limits.py",)),
    "negotiated": Target("v2g/iso15118/engine/negotiated.py", ("tests/iso15118/engine/test_negotiated.py",)),
    "secc_2_safety": Target("secc/session/v2g_message/safety.py", ("tests/secc/session/v2g_message/test_safety.py",)),
    "secc_2_contract": Target(
        "secc/session/d2/contract.py",
        ("tests/secc/session/d2/test_contract.py", "tests/secc/session/d2/test_installation.py"),
    ),
    "secc_2_ac": Target("secc/session/d2/ac.py", ("tests/secc/session/d2/test_session.py",)),
    "secc_2_delivery": Target(
        "secc/session/v2g_message/delivery.py",
        (
            "tests/secc/session/v2g_message/test_delivery.py",
            "tests/secc/session/v2g_message/test_loop.py",
            "tests/secc/session/din/test_session.py",
            "tests/secc/session/d2/test_session.py",
            "tests/secc/session/d2/test_receipts.py",
        ),
    ),
    "evcc_2_contract": Target(
        "evcc/session/d2/installation.py",
        ("tests/evcc/session/d2/test_contract.py", "tests/evcc/session/d2/test_installation.py"),
    ),
    "evcc_20_safety": Target("evcc/session/d20/safety.py", ("tests/evcc/session/d20/test_safety.py",)),
    "evcc_2_safety": Target("evcc/session/v2g_message/safety.py", ("tests/evcc/session/v2g_message/test_safety.py",)),
    "cdrs": Target("v2g/ocpi/records.py", ("tests/ocpi/test_records.py",)),
    "cdrs_of_settlements": Target("v2g/ocpi/settled.py", ("tests/ocpi/test_settled.py", "tests/ocpi/test_records.py")),
    "partners_tariffs": Target(
        "v2g/ocpi/tariffs.py",
        tuple(
            f"tests/ocpi/test_{each}.py"
            for each in ("tariffs", "billed", "plans_as_tariffs", "tariffs_by_minutes", "records", "settled")
        ),
    ),
    "station_profiles": Target(
        "v2g_station/blocks/smart_charging/profiles.py",
        tuple(
            f"tests/station/blocks/smart_charging/test_{each}.py"
            for each in ("profiles", "profiles_combined", "composite", "smart_charging")
        ),
    ),
    "external_limits": Target(
        "v2g_station/blocks/smart_charging/external_limits.py",
        tuple(
            f"tests/station/blocks/smart_charging/test_{each}.py"
            for each in ("external_limits", "smart_charging_21", "local_control", "energy_transfer")
        ),
    ),
    "local_control": Target(
        "v2g_station/blocks/smart_charging/local_control.py",
        tuple(f"tests/station/blocks/smart_charging/test_{each}.py" for each in ("local_control", "energy_transfer")),
    ),
    "profile_times": Target(
        "v2g_station/blocks/smart_charging/profile_times.py",
        tuple(
            f"tests/station/blocks/smart_charging/test_{each}.py"
            for each in ("profile_times", "profiles", "smart_charging", "smart_charging_21")
        ),
    ),
    "profile_rules": Target(
        "v2g_station/blocks/smart_charging/profile_rules.py",
        tuple(
            f"tests/station/blocks/smart_charging/test_{each}.py"
            for each in ("profile_rules", "profiles", "smart_charging", "smart_charging_21")
        ),
    ),
    "outside_pools": Target("v2g/pki/pools.py", ("tests/pki/test_pools.py",)),
    "trust_list": Target("v2g/pki/trust_list.py", ("tests/pki/test_pools.py", "tests/csms/api/test_trust_lists.py")),
    "credentials": Target("v2g/pki/credentials.py", ("tests/pki/test_credentials.py",)),
    "hpke": Target("v2g/pki/hpke.py", ("tests/pki/test_hpke.py",)),
    "enrolments": Target("v2g/pki/est.py", ("tests/pki/test_est.py",)),
    "tariffs_to_stations": Target("v2g/translate/ocpp_tariffs.py", ("tests/translate/test_ocpp_tariffs.py",)),
    "tariffs_of_stations": Target("v2g/translate/station_tariffs.py", ("tests/translate/test_ocpp_tariffs.py",)),
    "costs_of_stations": Target(
        "v2g/translate/details.py", ("tests/translate/test_details.py", "tests/translate/test_ocpp_tariffs.py")
    ),
    "price_schedules": Target(
        "v2g/translate/price_schedules.py",
        ("tests/translate/test_schedules_by_hand.py", "tests/translate/test_price_schedules.py"),
    ),
    "csms_prices": Target("v2g/translate/csms_prices.py", ("tests/translate/test_csms_prices.py",)),
    "iso_prices": Target("v2g/iso15118/d20/prices.py", ("tests/iso15118/d20/test_prices.py",)),
    "xml_signatures": Target(
        "v2g/iso15118/engine/signature.py",
        tuple(
            f"tests/iso15118/{each}.py"
            for each in (
                "engine/test_signature",
                "engine/test_signature_vectors",
                "engine/test_signature_attacks",
                "d2/test_signatures",
                "d20/test_signed_requests",
            )
        ),
    ),
    "discharge": Target("secc/session/discharge.py", ("tests/secc/session/test_discharge.py",)),
    "debits": Target("csms/mandates/work.py", ("tests/csms/services/billing/test_mandates.py",)),
    "debits_stored": Target(
        "csms/mandates/store.py", ("tests/csms/db/test_mandates.py", "tests/csms/services/billing/test_mandates.py")
    ),
    "plans": Target(
        "csms/tariffs/plans.py",
        (
            *(f"tests/csms/tariffs/test_{each}.py" for each in ("fixed_plans", "one_price", "scopes")),
            "tests/csms/api/test_tariffs.py",
            "tests/csms/ocpp/test_tariffs.py",
        ),
    ),
    "tariffs_at_stations": Target(
        "csms/tariffs/work.py",
        tuple(f"tests/csms/ocpp/test_{each}.py" for each in ("tariffs", "vehicle_prices", "transactions", "held")),
    ),
    "tariffs_by_api": Target(
        "csms/tariffs/api.py", ("tests/csms/api/test_tariffs.py", "tests/csms/ocpp/test_tariffs.py")
    ),
    "certificate_store": Target(
        "v2g_station/blocks/security/certificate_store.py",
        ("tests/station/blocks/security/test_certificate_store.py",),
    ),
    "transaction_events": Target(
        "csms/transactions/station.py",
        tuple(
            f"tests/csms/ocpp/test_{each}.py"
            for each in ("transactions", "tariffs", "authorization", "reservations", "metering", "held")
        ),
    ),
    "partners_sessions": Target(
        "csms/roaming/sessions.py",
        tuple(f"tests/csms/roaming/test_{each}.py" for each in ("cpo", "signed_sessions", "priced_alike")),
    ),
    "partners_cdrs": Target("csms/roaming/received.py", ("tests/csms/roaming/test_received.py",)),
}

_SAME = "writes the same"
_ROOM = "the most of what is fixed, or asks for room, is not read"
_NUMBER = "any other number tells it from earlier commands"
_TIMER = "names one timer, in one place"
_BEGUN = "of no weight before the first job, which sets it"
_ENTERED = "of no weight in the first phase, and set when another phase is entered"
_UNMEASURED = "a thousandth, of what no sensor has reported yet"
_TRUTH = "is asked only for being true"
_WITHIN = "within its bounds a flow has weight 0 when calculated, too"
_TWICE = "power 0 and an end in the past are two reasons for nothing, of which one is enough"
_WORD: Final = "members of an enumeration are compared, and never written"
_STANDS = "a decision that is in order has an offer"
_AMPERE = "a thousandth of an ampere is within each margin"
_MET = "whatever meets the deadline takes it away"
_EARLIER = "of earlier terms come cuts at which no price changes, and neighbours of one price are one line"
_SLOWLY = "a day of 24 hours comes to the same when its clock is looked at every minute"
_CUT = "where a transaction, a charge or a pause begins and ends it is cut anyway"
_UNASKED = "the lines before a piece are looked at only where it reaches the greatest cost"
_RAISES = "today's library returns False for a signature that it cannot check"
_OPENS = "the reading that an interval begins with closes nothing"
_NAMED = "tools read the name of a type variable, nothing else does"
_READ = "today's library reads it with the whole answer"
_HOSTS = "no host ends in a question mark"
_TOUCHED = "at the limit nothing is released, and to settle once more or less changes nothing"
_READINGS = "asks for the readings, not for their reasons"

_STATUS = "an answer without a status is like one with a status of neither name"
_NUMBERED = "of tariffs without a time only the order of their numbers counts"
_PAIR = "an answer of this kind is to a request of this kind"
_REPLACED = "the first reading takes the place of one that was missing"
_LOOKS = "so often the clock is looked at; a second more or less is promised to nobody"
_SHORTER = "is a shorter way to what the rest of the function finds, too"
_IN_ORDER = "what is in order has no detail that anybody reads"
_VERIFIED = "names a journal in which nothing wrong is left to be found"
_ARRIVED = "what has arrived is read in pieces of any size"
_MEASURED = "is measured before anybody asks"
_JUDGED: Final = "judge finds nothing either"
_COUNTED = "is only asked whether it has changed"
_TASK = "names a task"
_CLOSED: Final = "all EVSEs are closed, so no transaction ends before the restart"
_UNPERMITTED = "what goes on has no permission any more"
_NEVER = "is no time within a minute before a sample"
_UNHEARD = "nobody listens before it is made"
_UNPOWERED = "no current is driven without a power"
_GLANCE = "a look more or less in a second"
_STAMPED = "whoever reads it stamps it with another time, or with none"
_COUNT = "a count is whole"
_ALL_THREE = "charge, capacity and model are set together"
_UNDESCRIBED = "of an undescribed battery nothing is read"
_EACH = "there is one of them for each of the others"
_IN_FORCE = "what is in force has time left, but for the moment between the look and this"
_IN_W = "a limit without currents has a power"
_WATT = "a watt, which no share and no excess depends on"
_NEW_SHARE = "of a new share nothing is read before it is given"
_WHOLE = "a reference is configured and read, or neither"
_PATIENCE = "how long a thread waits or is waited for is the machine's time, which no test measures"
_STARTED = "a journal begins with the registers of its start"

_FOUND = "the change follows in the step in which its transaction was found"
_FIRST: Final = "is set by what happens before it is read"
_WHETHER: Final = "is asked only whether it holds"
_SPARED: Final = "what is not found is encoded again, and comes to the same"
_PROTOCOL: Final = "whoever implements it has defaults of its own"

_STEP: Final = "1/360,000 of a mWh is less than the slack"
_LOOKED: Final = "a place that has been foreseen twice is looked at twice"
_LAZY: Final = "this release of the library refuses it before"
_OPENING: Final = "a certificate begins otherwise"
_EMPTY: Final = "a span without length is no time"
_SIGN: Final = "only its sign counts"
_LOWEST: Final = "more of a sorted list have the same minimum"
_DATED: Final = "both are known, or neither"
_BOTH = "a signal has both or neither"
_GREETED = "it is set when a board is found"
_LEAST = "one that gets less than the least gets nothing, which is less than 1 mA"
_ROUND = "a test of 65,536 lines, which is long, notices it"

EQUIVALENT: Final[Mapping[str, Mapping[str, str]]] = {
    "access_rules": {
        "check_password: 1 -> 2": "one character, again and again, is refused before",
        "check_password: 1 -> 2 #2": "one character, again and again, is refused before",
    },
    "debits": {"DebitCollector.step: 0 -> 1 #3": "a debit has the digits of its currency, so none is of a millionth"},
    "price_schedules": {
        "_cuts: asked.from_ms < each < asked.until_ms -> asked.from_ms <= each < asked.until_ms": _CUT,
        "_cuts: asked.from_ms < each < asked.until_ms -> asked.from_ms < each <= asked.until_ms": _CUT,
        **dict.fromkeys(
            (
                "_bounds: 0 -> 1",
                "_bounds: (each.excl_micro if net else each.incl_micro) or 0 -> each.excl_micro if net else each.incl_micro",  # noqa: E501
            ),
            "both have it",
        ),
        "_overstay: plan.idle_time is None or _is_parking(plan) -> _is_parking(plan)": (
            "what has a price of charging time alone is refused before"
        ),
        "_pieces: 0 -> 1": "a millisecond, of conditions in whole seconds",
        "_ranked: 0 -> 1": "a millisecond, of conditions in whole seconds",
    },
    "external_limits": {
        "ExternalLimits._leads: return False -> return None": _TRUTH,
        "ExternalLimits._is_significant: True -> False": _EACH,
        "ExternalLimits._restore: del self._left[number] -> pass": "one that comes back replaces it",
        **dict.fromkeys(("_number: 1 -> 2", "_number: 2 -> 3"), "an id is below 0 and of one limit alone"),
    },
    "journal_file": {"JournalFile.__init__: False -> True": "one synchronisation more"},
    "profile_times": {
        "period_at: True -> False": _EACH,
        **dict.fromkeys(
            ("_since: schedule.start_schedule or '' -> schedule.start_schedule", "_since: '' -> '?'"),
            "an absolute schedule has a start",
        ),
        **dict.fromkeys(("_since: since >= 0 -> since > 0", "_since: 0 -> 1 #3"), "nothing is left of 0"),
        "delay_s: 8 -> 9": "as random",
        "ProfileContext.set_priority: 'yes' -> 'yes?'": "only its key is read",
        "ProfileContext.set_priority: return False -> return None": _TRUTH,
    },
    "profile_rules": {
        **dict.fromkeys(("refuse_lines: 1 -> 0", "refuse_lines: 1 -> 0 #2"), "only L2 and L3 are asked for"),
        "_refuse_phases: count is not None and any((each > count for each in fixed.values())) -> "
        "any((each > count for each in fixed.values()))": "one without a number has been refused before",
        "_refuse_schedule: 0 -> 1": "only whether they can be read counts",
        "_refuse_negative: each < 0 -> each <= 0": "0 is left out before",
    },
    "discharge": {
        **dict.fromkeys(
            ("SignedDischarge.__init__: self._offered_at = 0.0 -> pass", "SignedDischarge.__init__: 0.0 -> 1.0"), _FIRST
        ),
        "SignedDischarge.__init__: False -> True": "what was offered at 0 was offered long ago",
        "SignedDischarge.await_rest: return False -> return None": _TRUTH,
        **dict.fromkeys(
            (f"SignedDischarge.stop: '{each}' -> '{each}?'" for each in ("offer", "decision", "terms")),
            "what it calls makes no offer after the stop",
        ),
        "SignedDischarge._arm_expiry: until > self._time.utc_ms -> until >= self._time.utc_ms": (
            "in the same millisecond it is set again"
        ),
        "SignedDischarge._arm_expiry: return live -> return None": "the bench's timers are no millisecond early",
    },
    "iso_prices": {
        **dict.fromkeys(
            (
                "Overstay.due: end > start -> end >= start",
                "fee_rate: above > bottom -> above >= bottom",
                "fee_rate: power_w > 0 -> power_w >= 0",
            ),
            "no time and no power cost 0",
        ),
        **dict.fromkeys(
            (
                "during: max(0, bisect_right(stacks, flow.start_ms, key=lambda stack: stack.start_ms) - 1) -> 0",
                "during: 1 -> 2",
            ),
            "what has ended is passed over",
        ),
        "settle: True -> False": _EACH,
        "settle: True -> False #2": _EACH,
        "_within_bounds: True -> False": _EACH,
        "_within_bounds: True -> False #2": _EACH,
        "_within_bounds: True -> False #3": _EACH,
        "_due: True -> False": _EACH,
        "_stacks: rule.carbon_dioxide_emission or 0 -> rule.carbon_dioxide_emission": "only what is not 0 is counted",
    },
    "csms_prices": {
        "_sales: True -> False": _EACH,
        "_sales: 0 -> 1 #2": "a tariff has one level at least",
    },
    "hpke": {
        "_HpkeSuite.extract: salt or bytes(self.hash.digest_size) -> salt": "HMAC fills an empty key with zeros",
    },
    "partners_cdrs": {
        "store_object: return False -> return None": _TRUTH,
        "store_object: 0 -> 1": "of what is not there yet no time is read",
        "take_cdr: lock(connection, [_CDRS_OF.format(owner)]) -> pass": "only two nodes at once notice it",
        "credit_before: lock(connection, [_CDRS_OF.format(kept.owner)]) -> pass": "only two nodes at once notice it",
        "take_cdr: '' -> '?' #3": "no authorization has that name",
        **dict.fromkeys(("_near: '' -> '?'", "_token_findings: '' -> '?' #3"), "no session has that name"),
        "_place: '' -> '?'": "no EVSE has that name",
        "count_use: 32 -> 33": "so many characters tell CDRs apart, too",
        **dict.fromkeys(
            (
                "take_cdr: kept.state == 'booked' and (not cdr.credit) -> kept.state == 'booked' or not cdr.credit",
                "take_cdr: kept.state == 'booked' and (not cdr.credit) -> not cdr.credit",
                "take_cdr: kept.state == 'booked' and (not cdr.credit) -> kept.state == 'booked'",
            ),
            _SHORTER,
        ),
    },
    "certificate_store": {
        "is_issued_by: return False -> return None": _TRUTH,
        "CertificateStore._is_own: return False -> return None": _TRUTH,
        "_hashes_of: True -> False": "there is an issuer for each of a chain",
        "_same: '0' -> '0?'": "no number has a question mark",
        "_same: '0' -> '0?' #2": "no number has a question mark",
        "CertificateStore._update_seeds: '' -> '?'": "nobody looks at the text, only at whose it is",
    },
    "enrolments": {"_oids: 1 -> 2 #3": "a tag alone has no content of any length"},
    "outside_pools": {
        "module: 'T' -> 'T?'": _NAMED,
        "module: 1024 -> 1025": "a kibibyte more is promised to nobody",
        "module: 1024 -> 1025 #2": "a kibibyte more is promised to nobody",
    },
    "tariffs_to_stations": {
        "module: '_Conditions' -> '_Conditions?'": _NAMED,
        "_spans: True -> False": "there is one begin and one end more than holidays",
    },
    "tariffs_of_stations": {
        "module: '[12][0-9]{3}-[01][0-9]-[0-3][0-9]' -> '[12][0-9]{3}-[01][0-9]-[0-3][0-9]?'": "no day has one digit",
        "module: 1000000000000.0 -> 1000000000001.0": "a plan's prices end before",
        "_scaled: abs(number) < _LARGEST -> abs(number) <= _LARGEST": "a plan's prices end before",
    },
    "trust_list": {"write_trust_list: 'timeStamp' -> 'timeStamp?'": "readers take the time that is signed"},
    "local_control": {
        "LoadBalancing.measured: delta > 0 -> delta >= 0": "there is nothing to share",
        "FrequencyResponse.measured: 6 -> 7": "a tenth of a microhertz",
        "FrequencyResponse.follow: period.v2x_baseline or 0.0 -> period.v2x_baseline": "its profile has one",
    },
    "cdrs_of_settlements": {
        "encode: '2.2.1' -> '2.2.1?'": "only whether it is 2.3.0 is asked",
        "_Prices.__init__: wear[beside].price or 0 -> wear[beside].price": "wear has a price",
    },
    "debits_stored": {"module: 500 -> 501": "how many are read at once comes to the same"},
    "partners_tariffs": {
        "_restrictions: 'energy' -> 'energy?'": "only kinds that are paid once differ",
        "percent_of: (Decimal(with_taxes(10 ** 12, taxes) - 10 ** 12) / 10 ** 10).quantize(_Q4).normalize() + 0 -> "
        "(Decimal(with_taxes(10 ** 12, taxes) - 10 ** 12) / 10 ** 10).quantize(_Q4).normalize() - 0": "a zero's sign",
        "_is_above: greatest.after_taxes or after -> greatest.after_taxes": "a greatest price has both",
        "hours_of: 0 -> 1": "a millisecond is rounded away",
        **dict.fromkeys(
            ("_Tally.__init__: self._last_time = '' -> pass", "_Tally.__init__: '' -> '?'"), "read after the first use"
        ),
        "_Tally.__init__: '0' -> '0?'": "only conditions of the plan are read",
        "_count: 0 -> 1 #3": "a millisecond of 1970",
        **dict.fromkeys(
            (
                "_is_back: each.type == 'ENERGY' and each.volume < 0 -> each.volume < 0",
                "_is_back: each.volume < 0 -> each.volume <= 0",
            ),
            "volumes of other types are above zero; nothing costs 0",
        ),
        "_round_up: total > 0 -> total >= 0": "nothing is rounded up to nothing",
        "_minute: 1440 -> 1441": "a day ends at both",
        "_usage: True -> False": "both are as long",
        "_usage: 'MIN_POWER' -> 'MIN_POWER?'": "rates do not change between the least and the greatest power",
        **dict.fromkeys(("_usage: 0 -> 1 #12", "_usage: 0 -> 1 #13"), "a millisecond or a watt in no time"),
        **dict.fromkeys(
            (
                "_usage: power is None and flows_ms < stop_ms - start_ms -> power is None or flows_ms < stop_ms - start_ms",  # noqa: E501
                "_usage: power is None and flows_ms < stop_ms - start_ms -> flows_ms < stop_ms - start_ms",
                "_usage: power is None and flows_ms < stop_ms - start_ms -> power is None",
                "_usage: flows_ms < stop_ms - start_ms -> flows_ms <= stop_ms - start_ms",
                "_usage: stop_ms - start_ms -> stop_ms + start_ms #2",
            ),
            "a power that the next period replaces at once, or none that any rate asks for",
        ),
    },
    "station_profiles": {
        "_concerns: return False -> return None": _TRUTH,
        "_lines: True -> False": "each has as many conductors",
        "_export: _apart(limits, (period, item), around).watts or 0 -> _apart(limits, (period, item), around).watts": (
            "a limit has watts"
        ),
    },
    "opening": {"FollowerConfig: 3600.0 -> 3601.0": "a test of the documentation notices it"},
    "evcc_2_contract": {"wanted_set: 0 -> 1": "a millisecond, of a clock that may be wrong by more"},
    "own_profiles": dict.fromkeys(
        ("_start_ms: 0 -> 1", "limit_start_ms: 0 -> 1"), "less than the second that is rounded away"
    ),
    "discharge_policy": {
        "_always: return '' -> return None": _TRUTH,
        "recharge_ms: 1 -> 2": "a watt or two never charge it",
        "recharge_ms: 3600000 -> 3600001": "less than a millisecond in an hour",
    },
    "contract_rules": {
        "conclude: answers.get(question.request) or b'' -> answers.get(question.request)": "none is as an empty one",
        "_is_cleared: return False -> return None": "None is as false",
    },
    "transactions": {
        "_clock_faults: start is not None and start_ms is not None and (number > start) and (at_ms < start_ms) -> "
        "start is not None and number > start and (at_ms < start_ms)": _DATED,
        "_clock_faults: start is not None and start_ms is not None and (number > start) and (at_ms < start_ms) -> "
        "start_ms is not None and number > start and (at_ms < start_ms)": _DATED,
        "_clock_faults: end is not None and end_ms is not None and (number < end) and (at_ms > end_ms) -> "
        "end is not None and number < end and (at_ms > end_ms)": _DATED,
        "_clock_faults: end is not None and end_ms is not None and (number < end) and (at_ms > end_ms) -> "
        "end_ms is not None and number < end and (at_ms > end_ms)": _DATED,
        "_series: not samples or (len(samples) == 1 and (not samples[0].phase)) -> not samples": _SHORTER,
        "_series: 1 -> 0": _SHORTER,
        "_decimal: len(text) < -_SMALLEST -> len(text) <= -_SMALLEST": _SHORTER,
        "_decimal: -_SMALLEST -> _SMALLEST": _SHORTER,
    },
    "till": {
        "Till.__init__: self._stopping = False -> pass": _BEGUN,
        "Till.__init__: False -> True": _BEGUN,
    },
    "board_host": {
        "BoardHost.__init__: '' -> '?'": "any word that is no fault",
        "BoardHost._greeted: '' -> '?'": "any word that is no fault",
        "BoardHost.__init__: self._obeys = False -> pass": _GREETED,
        "BoardHost.__init__: False -> True": _GREETED,
        "BoardHost.__init__: self._received_at = 0.0 -> pass": _GREETED,
        "BoardHost.__init__: 0.0 -> 1.0": _GREETED,
        "BoardHost.tick: self.up and self._unobeyed and (now - next(iter(self._unobeyed.values())) >= self._lost_s) -> "
        "self._unobeyed and now - next(iter(self._unobeyed.values())) >= self._lost_s": "there is none without a board",
        "BoardHost.deadline: min(self._next, *(each + self._lost_s for each in (self._received_at, oldest, untaken))) "
        "-> *(each + self._lost_s for each in (self._received_at, oldest, untaken))": "it is no expression",
        "BoardHost.tell: protocol.SEQUENCES - 1 -> protocol.SEQUENCES + 1": _ROUND,
        "BoardHost.tell: 1 -> 2": _ROUND,
        "BoardHost.tell: 1 -> 0": _ROUND,
        "BoardHost._count: protocol.SEQUENCES - 1 -> protocol.SEQUENCES + 1": _ROUND,
        "BoardHost._count: 1 -> 2": _ROUND,
        "BoardHost._count: 1 -> 0": _ROUND,
        "BoardHost._send_set: len(self._unobeyed) < _PENDING -> len(self._unobeyed) <= _PENDING": "bounded as well",
    },
    "csr": {
        "requested_key: allowed and isinstance(key, ec.EllipticCurvePublicKey | ed448.Ed448PublicKey | "
        "rsa.RSAPublicKey) -> allowed": "keys of allowed kinds have these types",
    },
    "telemetry_rules": {
        "Delivery.places: True -> False": "as many indexes as elements",
        "Numbers.ranges: True -> False": "as many begin as end",
        "judge: isinstance(each, Prepared) and known is not None and (not known.quarantined) -> known is not None and "
        "(not known.quarantined)": "what cannot be read is the same as what is in quarantine alone",
        "_is_same: isinstance(element, Prepared) and known.quarantined -> known.quarantined": "the digest is of that",
    },
    "station_templates": {
        "same: {wanted.lower(), actual.lower()} <= _WORDS -> {wanted.lower(), actual.lower()} < _WORDS": "no word is a "
        "number",
    },
    "site_rules": {
        "lines_in_use: 3 -> 4": "an EVSE has three phases at most",
        "_outward: 0 -> 1": _LEAST,
        "_outward: (dispatched_w := (known.get(place.id, Known()).dispatch_w or 0)) < 0 -> (dispatched_w := "
        "(known.get(place.id, Known()).dispatch_w or 0)) <= 0": "nothing is fed back by 0 W",
        "_outward: 0 -> 1 #2": "who has no set-point feeds nothing back",
        "_outward: 0 -> 1 #3": "nothing is fed back by 0 W",
        "_outward: 0 -> 1 #4": _LEAST,
        "_free: True -> False": "all of them run",
    },
    "fleet_rules": {
        "Fleet.base_w: found.load_w or 0 -> found.load_w": "what is expected has the fleet's load",
        "fleet_vehicle: moved_wh > 0 -> moved_wh >= 0": "of nothing either is nothing",
        "fleet_problem: max(now_ms, *(each.departure_ms or 0 for each in found)) -> *(each.departure_ms or 0 for each "
        "in found)": "it is no expression",
        "fleet_problem: each.departure_ms or 0 -> each.departure_ms": "all say when they leave",
        "fleet_problem: 0 -> 1": "all say when they leave",
        "_expected: expected.load_w or 0 -> expected.load_w": "what is expected has the fleet's load",
        "_expected: 0 -> 1": "what is expected has the fleet's load",
        "_priced_until: slot.end_ms > now_ms -> slot.end_ms >= now_ms": "there is a price for now",
    },
    "grid_rules": {
        "SourceSignal.abandoned: True -> False": "both have two",
        "governing: 1 -> 2": "ranks are only compared",
        "_goes_on: return False -> return None": "None is as false",
    },
    "device_model": {"module: 'T' -> 'T?'": "the name of a type variable"},
    "overview_rules": {"beside: percent > 0 -> percent >= 0": "of 0 it has been said before"},
    "issue": {"key_identifier: 20 -> 21": "a SHA-1 has 20 bytes"},
    "station_clocks": {
        "module: 400 -> 401": "no zone changes first in the 401st day",
        "transition: now_s + day * DAY_S -> now_s - day * DAY_S": "the middle is after now, as the change is",
        "transition: day * DAY_S -> day // DAY_S": "the search begins now, when the same holds",
        "transition: 1 -> 2": "days that overlap",
    },
    "station_security": {"_named: '0' -> '0?'": "a number in hexadecimal has no ?"},
    "tariff_rules": {
        "gaps: day in holidays -> day not in holidays": "only tells two kinds of days apart",
        "_are_alike: 12 -> 13": "clocks are changed in the night",
        "changes: cut > now -> cut >= now": "a price that holds already is no change",
    },
    "ride_through": {
        "seconds_at: 1 -> 2": "a scale of both the thresholds and the value",
        "seconds_at: 1 -> 2 #2": "a scale of both the thresholds and the value",
        "CurveWatch.feed: self._since[-1][0] >= level - FINEST -> self._since[-1][0] > level - FINEST": (
            "a difference of floating-point numbers is never exactly that"
        ),
        "TenMinutes.feed: now - self._at > MEAN_S -> now - self._at >= MEAN_S": _SHORTER,
        "GridService.__init__: self._wait_s = 0.0 -> pass": _ENTERED,
        "GridService.__init__: 0.0 -> 1.0": _ENTERED,
        "GridService.__init__: self._ramp_s = 0.0 -> pass": _ENTERED,
        "GridService.__init__: 0.0 -> 1.0 #2": _ENTERED,
    },
    "section_14a": {
        "module: 1.0 -> 0": "of one device there is nothing that a factor could lower",
        "module: 1.0 -> 2.0": "of one device there is nothing that a factor could lower",
    },
    "curves": {
        "FrequencyCurve.__post_init__: True -> False": "each point has both numbers",
        "FrequencyCurve.__post_init__: -5 <= hertz[0] <= hertz[-1] <= 5 -> -5 <= hertz[0] < hertz[-1] <= 5": (
            "they rise"
        ),
        "HeldResponse.__init__: 0.0 -> 1.0": "before the first response there is no power to hold",
        "ResponseLag.__init__: 0.0 -> 1.0": "a value that is its target does not move before the first call",
        "ResponseLag.settled: abs(self.value - self.target) <= 0.0001 * max(1.0, abs(self.target))"
        " -> abs(self.value - self.target) < 0.0001 * max(1.0, abs(self.target))": (
            "a difference of floating-point numbers is never exactly that"
        ),
    },
    "conductors": {
        "Currents.carrying: True -> False": "there are three of both",
        "spread: (part + (index < left)) * (1 if total_ma >= 0 else -1)"
        " -> (part + (index < left)) // (1 if total_ma >= 0 else -1)": _SAME,
        "spread: total_ma >= 0 -> total_ma > 0": _SAME,
        "spread: 0 -> 1 #2": _SAME,
        "fill: 0 -> 1": "each place is set",
        "line_rating_ma: abs(whole_ma - exact_ma) * 100 <= exact_ma -> abs(whole_ma - exact_ma) * 100 < exact_ma": (
            "no whole number of amperes differs by exactly 1 %"
        ),
        "line_rating_ma: 100 -> 101": "no power in whole watts lies between",
    },
    "grid_fees": {
        "GridFees.add_to: 1000 -> 1001 #2": "less than a quarter hour is rounded to the same seconds",
        "module: '([01][0-9]|2[0-3]):(00|15|30|45)' -> '([01][0-9]|2[0-3]):(00|15|30|45)?'": "int refuses it as well",
    },
    "grid_code_watch": {
        "TripFile.load: 'ascii' -> 'ascii?'": "Python reads it as the same codec",
        "TripFile.keep: 'ascii' -> 'ascii?'": "Python reads it as the same codec",
        "GridCodeWatch.measured: True -> False": "each unit has its guard",
        "GridCodeWatch._follow: True -> False": "each unit has its guard",
        "GridCodeWatch.measured: 0 -> 1": "a watt changes no limit that counts whole ones",
        "GridCodeWatch._follow: 0 -> 1 #2": "a watt changes no curve",
        "GridCodeWatch._follow: max(LEAST_S, (due - now) / self._clock.scale) -> (due - now) / self._clock.scale": (
            "it only asks once more within a millisecond"
        ),
    },
    "mains_contactor": {
        "MainsContactor.look: self._now() >= self._moved_at + self._config.move_s -> self._now() > self._moved_at + "
        "self._config.move_s": "it is looked at again within 0.1 s",
    },
    "manager_facts": {
        "EnergyManagerWatch.__init__: 1 -> 0": "the station is a place in any case",
        "EnergyManagerWatch.__init__: 0.0 -> 1.0": "a place that is silent does not expire",
    },
    "grid_code_file": {
        "module: 10000000 -> 10000001": "a limit as good as the next",
        "set_grid_code: 16 -> 17": "random enough, or more so",
    },
    "grid_guard": {"GridProtection.tick: 0.0 -> 1.0": "no rule of a grid code has a random part"},
    "ocpp16_from_back_end": {
        "_read: '' -> '?' #3": "rotations are cut as the value of any key but two",
        "transfer: '' -> '?'": "both are no JSON",
        "_price: '' -> '?'": "both are no JSON",
    },
    "ocpp16_to_back_end": {
        "_show: now is None or (said is None and mirror.told.get(connector_id) == now) -> said is None and "
        "mirror.told.get(connector_id) == now": "of what is not known nothing was told",
    },
    "facts": {
        "of_journal: 0 -> 1 #2": "the time of the first reading is not asked of what a meter shows",
    },
    "limits_in_force": {
        "permitted: each.purpose in _TRANSACTION and each.evse_id in (0, evse_id) and (each.transaction_id in (None, "
        "... -> each.evse_id in (0, evse_id) and each.transaction_id in (None, transaction_id)": "the others limit "
        "nothing",
        "permitted: 2 -> 3 #2": "nobody asks for what is so long after",
        "permitted: first_ms <= at_ms < last_ms -> first_ms <= at_ms <= last_ms": "nobody asks for so late a time",
        "permitted: at + shift -> at - shift": "both shifts are there with either sign",
        "permitted: next_ms > at_ms -> next_ms >= at_ms": "nobody asks for so late a time",
        "permitted: True -> False #2": "all have two items",
        "permitted: True -> False #3": "all have two items",
    },
    "keys": {
        "x448_of: 114 -> 115": "the first 56 octets are used",
        "x448_public_of: 1 -> 0 #3": "the prime is odd",
        "save_secret: True -> False": "the file has just been made",
    },
    "certificates": {
        "load_certificate: _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc, "
        "certificate.signature) -> pass": _LAZY,
        "load_certificate: certificate.subject.rfc4514_string() -> pass": _LAZY,
        "load_certificate: certificate.issuer.rfc4514_string() -> pass": _LAZY,
        "load_certificate: certificate.public_bytes(serialization.Encoding.DER) != der or "
        "der[-len(certificate.signature) - ... -> der[-len(certificate.signature) - 1] != 0": _LAZY,
        "extensions_of: (at := der.find(_SPELLED_OUT)) < 0 -> (at := der.find(_SPELLED_OUT)) <= 0": _OPENING,
        "extensions_of: 0 -> 1": _FIRST,
        "extensions_of: raise -> pass": "what is nowhere is not replaced, and the library refuses it again",
        "chain_to_pem: 'ascii' -> 'ascii?'": "Python leaves the mark out of the codec's name",
    },
    "uptime": {
        "_excluded: span.to_ms - span.from_ms -> span.to_ms + span.from_ms #2": "without a maximum it is all of it",
        "_joined: each.from_ms < each.to_ms -> each.from_ms <= each.to_ms": _EMPTY,
        "_minus: other.from_ms > begin -> other.from_ms >= begin": _EMPTY,
        "_minus: begin < span.to_ms -> begin <= span.to_ms": _EMPTY,
        "_minus: max(begin, other.to_ms) -> other.to_ms": "the others are apart and in order",
    },
    "grid_support": {
        "GridSupport.__post_init__: 1 -> 2 #2": _SIGN,
        "GridSupport.__post_init__: 1 -> 2 #3": _SIGN,
        "GridSupport.__post_init__: (each.stop_v - each.start_v) * sign -> (each.stop_v - each.start_v) // sign": _SIGN,
    },
    "module_bank": {
        "DbcModules.__init__: 1 -> 2 #2": "there is no counter",
        "_one_frame: signal.multiplexer_signal is not None and signal.multiplexer_ids is not None -> "
        "signal.multiplexer_signal is not None or signal.multiplexer_ids is not None": _BOTH,
        "_one_frame: signal.multiplexer_signal is not None and signal.multiplexer_ids is not None -> "
        "signal.multiplexer_ids is not None": _BOTH,
        "_one_frame: signal.multiplexer_signal is not None and signal.multiplexer_ids is not None -> "
        "signal.multiplexer_signal is not None": _BOTH,
        "_one_frame: min(values) -> max(values)": "any of them",
        "DbcModules.command: share_a > 0 -> share_a >= 0": "no current has no steps in either direction",
        "IsolationReceiver.__init__: '' -> '?' #2": "neither begins with k",
        "ModuleGroup._share_ma: demand.current_ma < 0 -> demand.current_ma <= 0": "asked only where there is a current",
        "ModuleGroup._share_ma: 0 -> 1 #3": "asked only where there is a current",
        "_decode: not isinstance(read, dict) or not read.keys() >= set(needed) -> not read.keys() >= set(needed)": (
            "messages that contain others are not read"
        ),
        "_decode: isinstance(value, int | float) and math.isfinite(value) -> math.isfinite(value)": (
            "words of values are not read"
        ),
    },
    "balancing": {
        "Limits.way: self._ways[node, phases] = found -> pass": "the same is found again",
        "_fill: given[load] < targets[load] -> given[load] <= targets[load]": "it stops at its own level",
        "_fill: 0 -> 1": "the first event sets the level",
        "_fill: 1 -> 2": _LOWEST,
        "_fill: 1 -> 0": _LOWEST,
        "_fill: 1 -> 2 #2": _LOWEST,
        "_fill: 1 -> 2 #3": _LOWEST,
        "_fill: fills[place] == level and rising[place] and (place not in spare) -> rising[place] and place not in "
        "spare": _LOOKED,
        "_fill: fills[place] == level and rising[place] and (place not in spare) -> fills[place] == level and "
        "rising[place]": _LOOKED,
        "changes: 0 -> 1 #4": "a load that had none may begin by however little",
        "_fill: settle(place) < len(rising[place]) -> settle(place) <= len(rising[place])": (
            "each gets the last mA either way"
        ),
    },
    "plausible_amounts": {
        "_unsure: continue -> pass": "an event that is not offline is its own earliest and latest time",
        "_of_events: reused and conflict.seq_no == transaction.started_seq -> conflict.seq_no == "
        "transaction.started_seq": "the second condition implies the first",
        "_other_than: 0 -> 1 #3": "no register that counts on stood below 1 mWh",
        "_other_than: 0 -> 1 #5": "1 ms of idle time permits no mWh, either",
        "judge_usage: 0 -> 1 #5": "both have this time",
        "judge_usage: 0 -> 1 #11": "the last time is one of theirs",
        "judge_limits: 0 -> 1 #2": "it counts up to the first limit, whenever it begins",
        "_judge_states: 0 -> 1 #2": "it counts up to the first state, whenever it begins",
        "_most_excess: 0 -> 1 #2": "without a reading there is no excess",
        "_most_excess: 0 -> 1 #3": "without a reading there is no excess",
        "_most_excess: 0 -> 1 #4": _STEP,
        "_most_excess: 0 -> 1 #14": _STEP,
        "judge_usage: True -> False": "all have two items by their types",
        "_series: each.phase and each.unit in ENERGY_UNITS and (each.location in ('', OUTLET)) -> "
        "each.unit in ENERGY_UNITS and each.location in ('', OUTLET)": "those without a phase are kept anyway",
    },
    "admission": {
        "module: 1000 -> 1001": "a limit as good as the next",
        "module: 1000 -> 0": "a test of the API notices it",
        "module: 16 -> 17 #2": "random enough, or more so",
        "new_password: 64 -> 65": "random enough, or more so",
    },
    "journal_copy": {
        "Copy.take: True -> False": _EACH,
        "Copy._count_known: True -> False": _EACH,
    },
    "tokens": {
        "_fits: 1 -> 2": "each version number is written alike",
        "_fits: 1 -> 0": "each version number is written alike",
        "_fits: 1 -> 2 #2": "one entry is one message",
        "_fits: return False -> return None": _TRUTH,
    },
    "site_access": {"_read: return answer -> return None": "neither says whose it is"},
    "users": {
        "module: 2 -> 3": "a limit as good as the next",
        "module: 64 -> 65": "a limit as good as the next",
        "module: 1000 -> 1001": "a limit as good as the next",
        "Users._begin: 32 -> 33": "random enough, or more so",
        "Proof: '' -> '?'": "without a second factor no code is looked at, and with one neither fits",
        "Proof: '' -> '?' #3": "a cookie is looked at where something is signed",
        "Users._once: 'passkey' -> 'passkey?'": "any name of the purpose claims",
        "Users._once: '' -> '?'": "any name of the purpose claims",
        "Users.log_in: not fits or user is None or (not await self._uses_code(user, code)) -> "
        "not fits or not await self._uses_code(user, code)": "no password fits the hash of nobody",
        "Users._require: not fits or user is None or (not await self._proves(user, proof)) -> "
        "not fits or not await self._proves(user, proof)": "no password fits the hash of nobody",
        "Users.add_passkey: 'passkey' -> 'passkey?'": "a page shows the words of a refusal, whatever its kind",
        "Users._proves: return False -> return None": _TRUTH,
        "Users._uses_code: return False -> return None": _TRUTH,
        "_verify: return False -> return None": _TRUTH,
    },
    "passkeys": {
        "module: 'passkey' -> 'passkey?'": "any name of the purpose seals",
        "Passkeys._verified: 100 -> 101": "a hint has fewer characters",
    },
    "meter_alfen": {
        "read_alfen: 'latin-1' -> 'latin-1?'": "no codec looks at the mark",
        "read_alfen: len(fields) < 6 -> len(fields) <= 6": "six are no fault",
        "read_alfen: 6 -> 7 #2": "six are no fault",
        "read_alfen: len(octets) < _OCTETS -> len(octets) <= _OCTETS": "82 are no fault",
        "read_alfen: 4 -> 5 #3": "the data set ends there",
        "_base32: '=' -> '=?' #3": "what is encoded has no mark",
    },
    "signed_values": {
        "judge_samples: verdict == 'valid' and judged.record is not None -> verdict == 'valid'": "a valid one is read",
        "_judge: '' -> '?'": "a sample has no place",
        "_judge: signed.public_key or '' -> signed.public_key": "no key either way",
        "_judge: '' -> '?' #2": "a key that is none, and none",
        "_judge: known and judged.verdict == 'invalid' -> judged.verdict == 'invalid'": "the same judgement twice",
        "_fits: 0 -> 1 #2": "no number is left here",
    },
    "sharing": {
        "FeederShares.settle: self._known = None if changes else (feeder, evses) -> pass": (
            "what is known spares a calculation that has the same result"
        ),
        "_Way.settle: 3 -> 4": "a fourth limit is read by nobody",
        "_Way.settle: 3 -> 4 #2": "a fourth limit is read by nobody",
        "_Way.settle: 3 -> 4 #3": "a fourth limit is read by nobody",
        **dict.fromkeys(
            ("_Way._fed_back: 0 -> 1", "_Way._fed_back: self._sign < 0 -> self._sign <= 0"), "there are two directions"
        ),
        "_Way._fed_back: self._unbalance_ma is None or self._sign < 0 -> self._sign < 0": "then the node has no bound",
        **dict.fromkeys(("_Way._fair: 1 -> 2", "_Way._room: 1 -> 2"), "there is one node, or there are three"),
        "_Way._fed_back: 0 -> 1 #2": "no vehicle has a power of 1 W",
        "_Way._fed_back: 0 < len(others) < len(LINES) -> 0 < len(others) <= len(LINES)": (
            "the same in all conductors unbalances nothing"
        ),
        "_Way._fed_back: 0 -> 1 #4": "the most of what is fixed is not read",
        "_Way._draw: load.fixed or 0 -> load.fixed": "what flows is always fixed, which its type does not say",
        "_Way._flowing: 0.0 -> 1.0": "the time of nothing is not read",
        "_Way._flowing: 0 -> 1 #2": "no vehicle has a power of 1 W",
        "_Way._flowing: 0 -> 1 #3": "1 mA is no error of a measurement",
        "_Way._flowing: 0 -> 1 #7": _ROOM,
        "_Way._flowing: 0 -> 1 #8": _ROOM,
        "_Way._most: self._sign > 0 -> self._sign >= 0": "there are two directions",
        "_Way._least: 0 -> 1": "shares are whole milliamperes: less than one is none",
        **dict.fromkeys(("FeederEvse: 0 -> 1 #2", "FeederEvse: 0 -> 1 #3"), "1 W is no least power of any vehicle"),
        "_Way.settle: self._sign > 0 -> self._sign >= 0": "there are two directions",
        "_Way._least: self._sign < 0 -> self._sign <= 0": "there are two directions",
        "_Way.settle: served = {number: served[number] for number in self.shares if number in served} -> pass": (
            "the next calculation, which follows at once, has the order"
        ),
        **dict.fromkeys(
            (
                "_Way._look_at_use: used.line_ma + ERROR_MA >= share.line_ma -> used.line_ma + ERROR_MA > share.line_ma",  # noqa: E501
                "_Way._look_at_use: used.watts + error_w >= share.watts -> used.watts + error_w > share.watts",
                "_Way._look_at_use: most.line_ma < ERROR_MA -> most.line_ma <= ERROR_MA",
            ),
            "an error of exactly so much",
        ),
        "_Way._used: max(0, self._sign * evse.power_w) -> self._sign * evse.power_w": "less than nothing is no use",
        **dict.fromkeys(("_Way._used: 0 -> 1", "_Way._used: 0 -> 1 #2"), "1 W and 1 mA are no use"),
        "_Way._used: 1000 -> 1001": "a thousandth of a current that is compared within 2 A",
        "_Way._load: 0 -> 1": "no share is of 1 W",
        "_Way._least: 0 -> 1 #2": "1 mA is less than any share",
        **dict.fromkeys(
            ("_Way._flowing: 0 -> 1 #5", "_Way._flowing: 0 -> 1 #6"), "what is fixed has neither least nor most"
        ),
    },
    "vehicle_parts": {
        "SimulatedVehicle.step: 1000 -> 1001": "a thousandth of the time that an inverter waits",
        "DcLine.publish: 0 -> 1": _PROTOCOL,
        "DcLine.publish: 0 -> 1 #2": _PROTOCOL,
        "SimulatedVehicle._publish: 1 -> 2": "a watt at 2 mV, too, is more than a battery takes",
        "SimulatedVehicle.__init__: 0 -> 1": _NUMBER,
        "SimulatedVehicle.execute: 1 -> 2": _NUMBER,
        "SimulatedVehicle.execute: self._moves += 1 -> pass": "two that close do the same",
        "SimulatedVehicle.execute: 1 -> 2 #2": _NUMBER,
        "SimulatedVehicle.execute: 1 -> 0 #2": "two that close do the same",
        "SimulatedVehicle.cut: 1 -> 2": _NUMBER,
        "SimulatedVehicle.close: 1 -> 2": _NUMBER,
    },
    "on_board_charger": {
        "OnBoardCharger.battery_ma: watts > 0 -> watts >= 0": "of no power both are none",
        "OnBoardCharger._changed: 1000000 -> 1000001": "less than a milliampere within the rating",
    },
    "evcc_20_safety": {"_stream: 0 -> 1": "no side stream has that number either"},
    "rails": {
        "SecondaryDevice.__init__: 0 -> 1 #2": "it finds what it receives before anybody listens",
    },
    "battery_ecu": {
        "BatteryEcu._data: 0 -> 1": _SPARED,
        "BatteryEcu._data: self._encoded[message.name] = (signals, data) -> pass": _SPARED,
    },
    "pack": {
        "SensedPack.measure: mean + offset + drop * (share - shares) -> mean + offset - drop * (share - shares)": (
            "a cell has more of the resistance by chance, or as much less"
        ),
        "SensedPack.measure: 1000 -> 1001": "a thousandth of what chance spreads",
        "SensedPack.measure: True -> False": _EACH,
    },
    "vehicle_channel": {
        "module: 'Answer' -> 'Answer?'": "a name for people",
        "SafetyChannel.__init__: 1 -> 2": "no time of a battery is negative",
        "SafetyChannel.__init__: emergency is not None and emergency.cause -> emergency is not None": (
            "without a cause it isolates nothing"
        ),
        "SafetyChannel.__init__: False -> True": "without a session its monitor takes no duty cycle",
        "SafetyChannel.part: False -> True": "without a session its monitor takes no duty cycle",
        "SafetyChannel._take_duty: 0 -> 1": "1 mA is no watt",
        "SafetyChannel._tick: now - self._checked_at >= CHECK_S -> now - self._checked_at > CHECK_S": "a tenth later",
        "SafetyChannel._order: task.add_done_callback(self._tasks.discard) -> pass": "a task that has ended is idle",
    },
    "follower": {
        "module: 0.5 -> 1.5": _GLANCE,
        "module: 0.5 -> 0": _GLANCE,
        "Follower._go_back: raise AssertionError -> pass": "never called",
        "Follower._health: return '' -> return None": _WHETHER,
        "Follower._confirm: return '' -> return None": _WHETHER,
    },
    "firmware": {
        "module: '.image.' -> '.image.?'": "the rest of the name is random, and as a pattern it finds the same files",
        "FirmwareDevice._begin: 'firmware' -> 'firmware?'": _TASK,
        "FirmwareDevice._download: True -> False": "nothing else removes what a kill has left",
    },
    "firmware_updates": {
        "module: 60000 -> 60001": _LOOKS,
        "FirmwareUpdates._update: '' -> '?'": "neither is a certificate",
        "FirmwareUpdates._update: 'DownloadScheduled' -> 'DownloadScheduled?'": "another takes its place at once",
        "FirmwareUpdates._update: 'firmware.report' -> 'firmware.report?'": _TIMER,
        "FirmwareUpdates._activate: self._job is not None and self._written and (not self._busy()) -> "
        "self._written and (not self._busy())": "what is written has a job",
        "FirmwareUpdates._activate: self._written = False -> pass": _CLOSED,
        "FirmwareUpdates._activate: False -> True": _CLOSED,
        "_is_signed: return False -> return None": _WHETHER,
        "_is_signed: return False -> return None #2": _WHETHER,
    },
    "firmware_publishing": {
        "Publishing._publish: 'publish' -> 'publish?'": _TIMER,
        "Publishing.fetched: del self._fetching[fact.checksum] -> pass": "none at all is as good as no number",
    },
    "entry_points": {"module: 'Part' -> 'Part?'": _NAMED},
    "unreadable": {
        "module: 'Config' -> 'Config?'": "the name of a type variable",
        "module: 'v2g' -> 'v2g?'": "the name of a logger, as good as the next",
    },
    "audit": {
        "audit_session: 'journal' -> 'journal?' #2": _VERIFIED,
        "_postings: 'journal' -> 'journal?'": _VERIFIED,
        "same_document: 'journal' -> 'journal?'": _WHETHER,
        "_row: row.period > own -> row.period >= own": "what is in its own month is not asked for being late",
    },
    "corrections": {
        "read_corrected: False -> True": "a copy that does not begin with the signed lines differs before either ends",
    },
    "trusted_releases": {
        "module: 256 -> 257": "a limit as good as the next",
        "module: False -> True": "where images are is said by the back end's URL",
        "TrustedReleases._latest_time: (kept := min(now, stated)) > seen -> (kept := min(now, stated)) >= seen": _SAME,
        "_read: 1 -> 2": "one octet too many, or two",
        "TrustedReleases.__init__: '/' -> '/?'": "addresses of repositories have no query",
        "_refusal: 200 -> 201": "a limit as good as the next",
        "_Fetcher._fetch: raise NotImplementedError('files of limited size are read only') -> pass": "never called",
    },
    "quotes": {"parse_quote: 8 -> 9 #3": "an octet has no ninth bit"},
    "output": {"Contact.__init__: False -> True #2": "what was never commanded has had its time to move"},
    "flow": {
        "module: 0 -> 1": "of a battery that bears less than 20 mA",
        "Flow.then: -out <= flow <= into -> -out < flow <= into": _WITHIN,
        "Flow.then: -out <= flow <= into -> -out <= flow < into": _WITHIN,
        "Flow.then: -out -> out": _WITHIN,
    },
    "registers": {
        "MeterState.problem: record.status is record.shown_import_mwh is record.shown_export_mwh is UNSET -> "
        "record.status is record.shown_import_mwh is not record.shown_export_mwh is UNSET": _SHORTER,
        "MeterState.problem: record.status is record.shown_import_mwh is record.shown_export_mwh is UNSET -> "
        "record.status is record.shown_import_mwh is record.shown_export_mwh is not UNSET": _SHORTER,
    },
    "evse_core": {
        "LinkAvailability: 'available' -> 'available?'": _WORD,
        "EvseCore.__init__: self._now, self._present = (0.0, evse.Present()) -> pass": _FIRST,
        "EvseCore.__init__: 0.0 -> 1.0": _FIRST,
        "EvseCore.__init__: self._unwanted = ('', '') -> pass": _FIRST,
        "EvseCore.__init__: '' -> '?'": _FIRST,
        "EvseCore.__init__: '' -> '?' #2": _FIRST,
        "EvseCore.__init__: self._supply = evse.SupplyChanged(charge=True, discharge=True) -> pass": _FIRST,
        "EvseCore.__init__: True -> False #2": _FIRST,
        "EvseCore.__init__: True -> False #3": _FIRST,
        "EvseCore.__init__: self._pause_requested = False -> pass": _FIRST,
        "EvseCore.__init__: False -> True #2": _FIRST,
        "EvseCore.__init__: self._left = False -> pass": _FIRST,
        "EvseCore.__init__: False -> True #4": _FIRST,
        "EvseCore._failed_too_often: return False -> return None": _WHETHER,
        "EvseCore._begin_basic: return False -> return None": _WHETHER,
        "EvseCore._begin_basic: return False -> return None #2": _WHETHER,
    },
    "charger": {
        "ChargerMonitor._look_at_output: True -> False": _EACH,
        "ChargerMonitor._forget: 0.0 -> 1.0": _ENTERED,
        "ChargerMonitor._forget: 0.0 -> 1.0 #2": _ENTERED,
        "ChargerMonitor._forget: 0.0 -> 1.0 #3": _ENTERED,
        "ChargerMonitor._forget: 0.0 -> 1.0 #4": _ENTERED,
        "ChargerMonitor._forget: self._voltage_until = 0.0 -> pass": _ENTERED,
        "ChargerMonitor._forget: 'none' -> 'none?'": "whatever is neither signed nor standard is none",
        "ChargerMonitor._forget: 0.0 -> 1.0 #5": _TWICE,
        "ChargerMonitor._forget: 0 -> 1 #2": _TWICE,
        "ChargerMonitor.discharge: 0 -> 1": _TWICE,
        "ChargerMonitor.discharge: 0.0 -> 1.0": _TWICE,
    },
    "vehicle": {
        "VehicleMonitor.__init__: 0 -> 1": _UNMEASURED,
        "VehicleMonitor.__init__: 0 -> 1 #2": _UNMEASURED,
        "VehicleMonitor.__init__: 0 -> 1 #4": _UNMEASURED,
        "VehicleMonitor.__init__: 0 -> 1 #5": _UNMEASURED,
        "VehicleMonitor.__init__: 0 -> 1 #6": _UNMEASURED,
        "VehicleMonitor.inlet: 0 -> 1": "no number of lines stands for one",
        "VehicleMonitor.inlet: 0 -> 1 #2": _AMPERE,
        "VehicleMonitor.inlet: 0 -> 1 #3": _AMPERE,
        "VehicleMonitor._forget: 0 -> 1 #2": _TWICE,
        "VehicleMonitor._forget: False -> True": "what awaits an answer keeps what was answered, which is nothing",
        "VehicleMonitor._forget: 0 -> 1 #3": _TWICE,
        "VehicleMonitor._look_at_lines: 1 -> 2": "nothing flows at a thousandth of a volt",
        "VehicleMonitor._look_at_lines: True -> False": _EACH,
        "VehicleMonitor._look_at_request: 'drawn' -> 'drawn?' #2": "what is none of the other rules is that",
        "VehicleMonitor._look: 'unasked' -> 'unasked?'": _TIMER,
        "VehicleMonitor._look_at_flow: 0 -> 1": "a thousandth of a volt is below each battery's maximum",
        "VehicleMonitor._look_at_flow: 0 -> 1 #2": _AMPERE,
    },
    "derating": {
        "check_curve: True -> False": "each point is a pair",
        "check_curve: 1 -> 0 #3": "nothing before the highest point is above it",
    },
    "runaway": {
        "module: -(1 << 62) -> 1 << 62": _NEVER,
        "module: 1 -> 2": _NEVER,
        "module: 62 -> 63": _NEVER,
        "RunawayState: 0.0 -> 1.0": _FIRST,
        "RunawayState: 0 -> 1": _FIRST,
        "RunawayState: 0 -> 1 #2": _FIRST,
        "RunawayState: 0 -> 1 #3": _FIRST,
        "RunawayState: 0 -> 1 #4": _FIRST,
        "step: True -> False": _EACH,
        "step: True -> False #2": _EACH,
        "_signs: True -> False": _EACH,
        "_signs: True -> False #2": _EACH,
    },
    "battery_limits": {"CellLimitState: 0 -> 1": _FIRST},
    "cusum": {
        "Track: 0.0 -> 1.0": _FIRST,
        "Track: 0.0 -> 1.0 #2": _FIRST,
        "run_length: abs(drift) < 1e-09 -> abs(drift) <= 1e-09": "both formulas agree there",
    },
    "finding": {
        "judge: 1.0 -> 2.0": "its sign alone counts",
        "judge: 1.0 -> 2.0 #2": "its sign alone counts",
    },
    "data_quality": {
        "step: 0.0 -> 1.0": "before the first sample nothing is known",
        "step: 0.0 -> 1.0 #2": "a second is no silence",
        "step: by_a * by_v > 0 -> by_a * by_v >= 0": "neither of the steps is 0",
        "step: 0.5 -> 0 #2": _COUNT,
        "step: 0.5 -> 0 #4": _COUNT,
        "step: 0.5 -> 0 #6": _COUNT,
        "step: len(ranged) < len(sample.values) -> len(ranged) <= len(sample.values)": "all are numbers",
        "step: value <= limit -> value < limit": _JUDGED,
        "step: continue -> pass": _JUDGED,
        "_jumps: at_ms < held[1] -> at_ms <= held[1]": "it is held from then on in either case",
    },
    "health": {
        "HealthState: 0 -> 1": _FIRST,
        "step: pack is None or now is None -> now is None": _UNDESCRIBED,
        "step: state.soc is None or state.capacity is None or state.model is None -> state.soc is None and "
        "state.capacity is None and (state.model is None)": _ALL_THREE,
        "step: state.soc is None or state.capacity is None or state.model is None -> state.capacity is None or "
        "state.model is None": _ALL_THREE,
        "step: state.soc is None or state.capacity is None or state.model is None -> state.soc is None or "
        "state.model is None": _ALL_THREE,
        "step: state.soc is None or state.capacity is None or state.model is None -> state.soc is None or "
        "state.capacity is None": _ALL_THREE,
        "reference: settings.pack is None or state.capacity is None -> state.capacity is None": _UNDESCRIBED,
        "estimates: state.forecast.observed >= 3 and state.model is not None -> state.forecast.observed >= 3": (
            "a forecast is of models"
        ),
    },
    "twin": {
        "TwinState: 0.0 -> 1.0": _FIRST,
        "step: pack is None or now is None -> now is None": _UNDESCRIBED,
        "step: before is None or not 0 <= seconds <= _LONGEST_S -> not 0 <= seconds <= _LONGEST_S": (
            "without a sample before, its time is infinite"
        ),
        "_pull: slope_v < 0.2 -> slope_v <= 0.2": "no curve has just that slope",
    },
    "session_metrics": {
        "FigureTrack: 0.0 -> 1.0": _FIRST,
        "FigureTrack: 0.0 -> 1.0 #3": _FIRST,
        "apart: name is None or track.sessions < KNOWN or len(known) < KNOWN -> track.sessions < KNOWN or "
        "len(known) < KNOWN": "of a figure without a name nothing is known of others",
        "apart: far > worst.value -> far >= worst.value": "of two that are as far either says so",
    },
    "charger_heat": {
        "Derating.__init__: 1.0 -> 2.0 #2": "no share is above the first one",
        "Derating.percent: 1e-09 -> 0": "against a product just below a whole number",
        "Derating.look: 0.0 -> 1.0": "nothing rises above the first share",
        "Derating.look: max(0.0, now - self._at) -> now - self._at": "a share does not fall with time",
        "Derating.look: lower < self._share -> lower <= self._share": "what a warmer part permits is not more",
    },
    "emergency_log": {
        "EmergencyLog.open: 1 -> 2": "one octet too many is as bad as two",
        "EmergencyLog.append: 1 -> 2": "behind the last octet there is none",
    },
    "interlock": {
        "Interlock.__init__: 0 -> 1": "of both a voltage may be touched",
        "Interlock.output: voltage_mv < TOUCH_MV -> voltage_mv <= TOUCH_MV": _TOUCHED,
        "Interlock.release: self._lock_wanted = False -> pass": "what is settled has it open already",
        "Interlock.tick: self.closed and (not self.commanded) -> self.closed or not self.commanded": _MET,
        "Interlock.tick: self.closed and (not self.commanded) -> not self.commanded": _MET,
        "Interlock.tick: self.closed and (not self.commanded) -> self.closed": _MET,
        "Interlock.tick: self.commanded and (not self.closed) -> self.commanded or not self.closed": _MET,
        "Interlock.tick: self.commanded and (not self.closed) -> not self.closed": _MET,
        "Interlock.tick: self.commanded and (not self.closed) -> self.commanded": _MET,
        "Interlock._judge_plug: 'seated' -> 'seated?'": "whatever is not loose is seated",
        "Interlock._settle: self._wanted and blocked -> blocked": "what is not wanted stays so",
        "Interlock._dead: not self.commanded and (not self.closed) and (self._output_mv < TOUCH_MV) "
        "-> not self.closed and self._output_mv < TOUCH_MV": "nobody is told to close who is not permitted",
    },
    "guard": {
        "OutputUse: 'none' -> 'none?'": _WORD,
        "OutputUse: 'closing' -> 'closing?'": _WORD,
        "OutputUse: 'charging' -> 'charging?'": _WORD,
        "OutputUse: 'held' -> 'held?'": _WORD,
        "OutputUse: 'opening' -> 'opening?'": _WORD,
    },
    "safety_channel": {
        "module: 'Said' -> 'Said?'": _NAMED,
        "module: 'Part' -> 'Part?'": _NAMED,
        "SafetyChannel._on_after_cut: self._loop.time() < end -> self._loop.time() <= end": _GLANCE,
        "_cut_aside: break -> pass": _SHORTER,
        "_Primary.__init__: 0 -> 1": "before the first command nothing is lowered to a power",
    },
    "dc": {
        "DcEvse.__init__: False -> True #2": "each command of a voltage says what may flow with it",
        "DcEvse._watch_current: 0 -> 1 #4": _AMPERE,
    },
    "evse": {
        "Evse.__init__: 0 -> 1": _COUNTED,
        "Evse.__init__: 0 -> 1 #2": _COUNTED,
        "Evse.__init__: 'evse' -> 'evse?'": _TASK,
        "Evse.react: del var -> pass": "for readers",
        "Evse._report: self._clock.monotonic() - self._measured_at >= self._report_s "
        "-> self._clock.monotonic() - self._measured_at > self._report_s": _GLANCE,
        "Evse._carry_out: closed and (not self.contactors_closed) -> not self.contactors_closed": _FIRST,
        "Evse._watch_temperatures: now - self._fan_since >= FAN_DEAD_S -> now - self._fan_since > FAN_DEAD_S": _GLANCE,
        "Evse.execute: 1 -> 2": _COUNTED,
        "Evse._carry_out: 1 -> 2": _COUNTED,
        "Evse._pilot_failed: return '' -> return None": _TRUTH,
        "Evse._output_failed: return '' -> return None": _TRUTH,
        "Evse._within: return False -> return None": _TRUTH,
        "Evse._within: self._loop.time() >= end -> self._loop.time() > end": _GLANCE,
        "Evse.close: self._offs += 1 -> pass": _UNPERMITTED,
        "Evse.close: 1 -> 2": _COUNTED,
        "Evse.close: 1 -> 0": _UNPERMITTED,
        "Evse._recover: now - self._retry_at >= SOUND_S -> now - self._retry_at > SOUND_S": _GLANCE,
        "Evse._recover: 'self-test' -> 'self-test?'": _TASK,
        "Evse.__init__: 0.0 -> 1.0": "the first pause begins with the first test",
        "Evse.__init__: '' -> '?' #2": "a contactor closes for a session, which has its id",
        "Evse.__init__: self._session_id = '' -> pass": "a contactor closes for a session, which has its id",
    },
    "plausibility": {
        "MeterGuard.__init__: self._unseen = (0, 0) -> pass": _FIRST,
        "MeterGuard.__init__: 0 -> 1": _FIRST,
        "MeterGuard.__init__: 0 -> 1 #2": _FIRST,
        "EnergyCounter.advance: now_ms > self._at_ms -> now_ms >= self._at_ms": "in no time nothing flows",
        "EnergyCounter.advance: energy > 0 -> energy >= 0": "nothing is nothing in both directions",
    },
    "modules": {
        "CanStage.__init__: 0 -> 1": _UNHEARD,
        "CanStage.__init__: 0 -> 1 #2": _UNHEARD,
        "CanStage.__init__: 0.0 -> 1.0": _UNHEARD,
        "CanStage._exchange: self._clock.monotonic() - self._started >= self._grace_s "
        "-> self._clock.monotonic() - self._started > self._grace_s": _GLANCE,
        "CanStage._exchange: now - self._reported_at >= REPORT_S / 2 "
        "-> now - self._reported_at > REPORT_S / 2": _GLANCE,
        "CanStage.test_isolation: self._clock.monotonic() >= end -> self._clock.monotonic() > end": _GLANCE,
        "check_modules: 0.0 -> 1.0": "modules are only made, at no time",
    },
    "gpio": {
        "GpiodLines.read: True -> False": "libgpiod has a value for each line",
    },
    "modbus": {
        "ModbusMeter.open: config.device and (not Path(config.device).exists()) -> not Path(config.device).exists()": (
            "the path of no device is the folder in which the program runs"
        ),
        "ModbusMeter.open: 'meter' -> 'meter?'": _TASK,
    },
    "energy_modbus": {
        "ModbusEnergyManager.close: True -> False": "what may end a connection is caught where it is served",
        "ModbusEnergyManager._serve: 4096 -> 4097": _ARRIVED,
        "ModbusEnergyManager._serve: self._asked_at[quietest] > loop.time() - QUIET_S -> self._asked_at[quietest] >= "
        "loop.time() - QUIET_S": "both happen at no same instant",
        "ModbusEnergyManager._serve: answers and task in self._asked_at -> answers": "one that is closed reads nothing",
    },
    "linux_board": {
        "module: 'T' -> 'T?'": _NAMED,
        "module: 0.05 -> 1.05": _PATIENCE,
        "module: 0.05 -> 0": _PATIENCE,
        "module: 1.0 -> 2.0 #2": _PATIENCE,
        "_Sample: False -> True #3": "of a lost board, which ends no emergency stop",
        "_Signs.__init__: 0 -> 1": _COUNTED,
        "_Signs.give: 1 -> 2": _COUNTED,
        "BoardThreads.sample.run: ROUND_S / 2 -> ROUND_S * 2": _PATIENCE,
        "plug_at: 0 -> 1": "a thousandth of a volt below the supply is an open contact, too",
        "BoardThreads.sample.run: 2 -> 3": _PATIENCE,
        "LinuxBoard.self_test.shows: return False -> return None": _TRUTH,
        "LinuxBoard._within: self._clock.monotonic() >= end -> self._clock.monotonic() > end": _GLANCE,
        "LinuxBoard._within: return False -> return None": _TRUTH,
        "LinuxBoard._sound: max(now - self._sampled_at, self._signs.age(now)) < self._config.lost_s -> "
        "max(now - self._sampled_at, self._signs.age(now)) <= self._config.lost_s": _GLANCE,
        "LinuxBoard._sample: now - wrong_since >= FOLLOW_S -> now - wrong_since > FOLLOW_S": _GLANCE,
        "LinuxBoard._show: self._samples.age(self._clock.monotonic()) > self._config.lost_s -> "
        "self._samples.age(self._clock.monotonic()) >= self._config.lost_s": _GLANCE,
        "LinuxBoard._judge_levels: now - self._levels_wrong_since >= FOLLOW_S -> now - "
        "self._levels_wrong_since > FOLLOW_S": _GLANCE,
        "LinuxBoard._judge_reference: config is None or self._reference is None -> config is None and "
        "self._reference is None": _WHOLE,
        "LinuxBoard._judge_reference: config is None or self._reference is None -> self._reference is None": _WHOLE,
        "LinuxBoard._judge_reference: config is None or self._reference is None -> config is None": _WHOLE,
        "LinuxBoard._judge_reference: now - self._reference_at >= TOGGLE_S -> now - self._reference_at > "
        "TOGGLE_S": _GLANCE,
        "PwmOutput.__init__: time.monotonic() < end -> time.monotonic() <= end": _GLANCE,
        "AdcInput.__init__: os.O_RDONLY | os.O_CLOEXEC -> os.O_RDONLY & os.O_CLOEXEC": "Python closes it anyway",
        "AdcInput.read_mv: 32 -> 33": "no converter has 32 digits",
        "_constant: '0123456789' -> '0123456789?'": "no channel has a question mark",
        "_constant: continue -> pass": "it is the end of the loop's body",
        "_write: error.errno or 0 -> error.errno": "an error without a number has no hint either",
        "_write: 0 -> 1": "neither number has a hint",
    },
    "d0": {
        "D0Meter.__init__: self._began = clock.monotonic() -> pass": _FIRST,
        "D0Meter.open: 'meter' -> 'meter?'": _TASK,
    },
    "zvt_terminal": {
        "ZvtTerminal._talk: 4096 -> 4097": _ARRIVED,
        "ZvtSimulator._serve: 4096 -> 4097": _ARRIVED,
    },
    "driver": {
        "module: 'Part' -> 'Part?'": _NAMED,
        "keep_open: loop.time() - began > REOPEN_LONGEST_S -> loop.time() - began >= REOPEN_LONGEST_S": _GLANCE,
    },
    "board": {
        "SerialBoard.__init__: self._temperatures_at = clock.monotonic() -> pass": _FIRST,
        "SerialBoard.temperatures: self._clock.monotonic() - self._temperatures_at > HEAT_S "
        "-> self._clock.monotonic() - self._temperatures_at >= HEAT_S": _GLANCE,
        "SerialBoard._within: self._clock.monotonic() >= end -> self._clock.monotonic() > end": _GLANCE,
        "SerialBoard._within: return False -> return None": _TRUTH,
    },
    "meter": {
        "Meter.save: True -> False": "nobody calls an interface",
        "SimulatedMeter.values: 0 -> 1": _STAMPED,
        "SimulatedMeter._faults_changed: 0 -> 1": _STAMPED,
        "SimulatedMeter._slot: self._path is None or self._keys is None -> self._keys is None": "keys are of a file",
    },
    "meter_remote": {"RemoteMeter.save: True -> False": "it stores its registers itself"},
    "wpt": {
        "WptEvse.__init__: 0 -> 1": _UNPOWERED,
        "WptEvse._off: 0 -> 1": _UNPOWERED,
        "WptEvse._drive: 0 -> 1": _UNPOWERED,
        "WptEvse._watch_output: 'over' -> 'over?'": _TIMER,
    },
    "maintenance": {
        "Maintenance.report: 0 -> 1": "the time of a reading is not reported",
        "Maintenance._until: loop.time() - began > MOVE_S -> loop.time() - began >= MOVE_S": _GLANCE,
        "Maintenance._hold: asyncio.get_running_loop().time() < end -> "
        "asyncio.get_running_loop().time() <= end": _GLANCE,
    },
    "parts": {"Assembly._open_parts: 0 -> 1": "a thousandth of an ampere heats nothing"},
    "simulated": {"SimulatedMains.__init__: 0 -> 1": _MEASURED, "SimulatedMains.__init__: 0 -> 1 #2": _MEASURED},
    "driver_guard": {"module: 'Part' -> 'Part?'": _NAMED},
    "watch": {
        "Watch.__init__: 1 -> 2": "no battery's own time is negative",
        "Watch.__init__: 0 -> 1 #4": _UNMEASURED,
        "Watch.__init__: 0 -> 1 #5": _UNMEASURED,
        "Watch._current: 0 -> 1": _AMPERE,
        "Watch._power: 1 -> 2": "thousandths of a volt, of what is measured in tenths",
    },
    "gate": {
        "DischargeGate._on_decision: reason is not None or self._standing is None -> reason is not None": _STANDS,
        "DischargeGate._on_decision: reason or ResultStatus.UNKNOWN_OFFER -> reason": _STANDS,
        "DischargeGate._check_decision: '' -> '?'": _IN_ORDER,
        "DischargeGate._check_order: '' -> '?'": _IN_ORDER,
        "DischargeGate._check_times: '' -> '?'": _IN_ORDER,
        "DischargeGate._check_receipt: '' -> '?'": _IN_ORDER,
        "DischargeGate._check_named: '' -> '?'": _IN_ORDER,
        "DischargeGate._check_order: command.sequence < self._sequence -> command.sequence <= self._sequence": (
            "the same sequence was refused as a replay before"
        ),
    },
    "power": {
        "over_lines: 0 -> 1": "a vehicle that uses alternating current has said at least one",
        "on_lines: power_w > 0 -> power_w >= 0": "nothing has no sign",
        "on_lines: power_w > 0 -> power_w >= 0 #2": "of nothing each has nothing in either direction",
        "_slewed: 0 -> 1 #4": "of an output that cannot take energy back",
        "_slewed: True -> False": "each has two directions",
        "direction: 1 -> 2": "only its sign counts",
        "_slewed: rise * LEAD_S -> rise // LEAD_S": "the lead is one second",
        "Turnaround.__init__: 0.0 -> 1.0": "before any power there is no direction that has to wait",
        "Turnaround.measure: power_w > 0 -> power_w >= 0": "what is above the threshold is not 0",
        "Turnaround.measure: 0 -> 1": "what is above the threshold is more than 1 W",
    },
    "revocation": {
        "Revocation.require: self.refusal is not None and self.refusal.reason is not None "
        "-> self.refusal is not None": "what is refused has a reason",
    },
    "intervals": {
        "intervals_of: 1 -> 0": _OPENS,
        "IntervalCloser.next_boundary_ms: 0 -> 1": "the next quarter hour of both is the same",
    },
    "session_journal": {
        "SessionJournal.resume: 1 -> 0": _OPENS,
        "SessionJournal.next_reading_ms: last_ms < each < boundary_ms -> last_ms < each <= boundary_ms": (
            "without an earlier one it is the boundary anyway"
        ),
    },
    "pieces": {
        "cut: True -> False": "each plan has its zone",
        "_run_cuts: False -> True #2": "of the end the time is looked at alone",
        "cut: usage.start_ms < cut < usage.end_ms -> usage.start_ms <= cut < usage.end_ms": _CUT,
        "cut: usage.start_ms < cut < usage.end_ms -> usage.start_ms < cut <= usage.end_ms": _CUT,
        "_run_cuts: charged < bound < charged + length -> charged <= bound < charged + length": _CUT,
        "_run_cuts: charged < bound < charged + length -> charged < bound <= charged + length": _CUT,
        "_run_cuts: paused < bound < paused + length -> paused <= bound < paused + length": _CUT,
        "_run_cuts: paused < bound < paused + length -> paused < bound <= paused + length": _CUT,
    },
    "costing": {
        "_use_rates: True -> False": _EACH,
        "energy_prices: 1 -> 2": "only whether there are bounds counts",
        "energy_prices: 1 -> 0": "only whether there are bounds counts",
        "extend: plan.greatest is not None and frozen is None -> plan.greatest is not None or frozen is None": _UNASKED,
        "extend: plan.greatest is not None and frozen is None -> frozen is None": _UNASKED,
        "extend: plan.greatest is not None and frozen is None -> plan.greatest is not None": _UNASKED,
    },
    "crl": {
        "module: '_T' -> '_T?'": "names a type",
        "load_crl: warnings.simplefilter('ignore') -> pass": "a warning changes nothing",
        "is_older: one.crl_number < two.crl_number -> one.crl_number <= two.crl_number": "the numbers differ",
        "_check_issuer: signed = False -> pass": _RAISES,
        "_check_issuer: False -> True": _RAISES,
    },
    "journal": {
        "JournalState.__init__: 0 -> 1 #6": "the start of a session sets the time of its first reading",
        **dict.fromkeys(
            ("readable_lines: '' -> '?'", "readable_lines: '' -> '?' #2", "readable_lines: '' -> '?' #3"),
            "nobody sees these errors",
        ),
        **dict.fromkeys(
            ("readable_lines: valid = False -> pass", "readable_lines: False -> True"),
            "what follows a line that is not valid never continues the last valid one",
        ),
    },
    "bundle": {
        "_check_ocmf: 'ocmf.EndReason' -> 'ocmf.EndReason?'": "a cast's type is not looked at when it runs",
    },
    "signed_meter": {
        "ends: 'E' -> 'E?'": _READINGS,
        "data_sets: 'E' -> 'E?'": _READINGS,
    },
    "grid_limits": {
        "module: 1000000 -> 1000001": "more than all limits together",
        "_lowered: each.limit_w or 0 -> each.limit_w": _IN_W,
        "_lowered: 3 -> 4": "compared with three",
        "tree: 0 -> 1": _IN_W,
        "LimitState.watts: self.limit_w or 0 -> self.limit_w": _IN_W,
        "LimitState.watts: 0 -> 1": _IN_W,
        "LimitState.worst: True -> False": _EACH,
        "states: limit.limit_w or 0 -> limit.limit_w": _IN_W,
        "states: 0 -> 1 #10": _IN_W,
        "states: each.evse_id or 0 -> each.evse_id": "no place has either",
        "_load: 0 -> 1": _WATT,
        "_load: 0 -> 1 #2": _WATT,
        "_load: 0 -> 1 #3": "a node carries the same on each phase",
        "share_stations: 0 -> 1 #3": _WATT,
        "share_stations: 0 -> 1 #4": "one is beyond by more than 100 W",
        "StationShare: '' -> '?'": "each is given its site",
        "StationShare: 0 -> 1": _NEW_SHARE,
        "StationShare: 0 -> 1 #2": _NEW_SHARE,
        "StationShare: 0 -> 1 #3": "each new one is given the time",
        "Bearer.due: self.granted or 0 -> self.granted": "one that is late has a share",
        "Bearer.due: 0 -> 1": "one that is late has a share",
        "share_stations.home: 1 -> 2": "the point below a site's is one of its feeders",
        "share_stations.home: 1 -> 2 #2": "each EVSE of a site has a feeder",
        "share_stations: True -> False": _EACH,
        "share_stations: True -> False #2": _EACH,
        "share_stations: True -> False #3": _EACH,
        "_sites_within: True -> False": _EACH,
        "states: True -> False": _EACH,
    },
    "limits": {
        "LimitBook.effective: '' -> '?'": "no source has either name",
    },
    "ocsp": {
        "_parsed: _ = (response.certificates, response.responder_key_hash, response.responder_name) -> pass": _READ,
        "_parsed: _ = answer.revocation_time_utc -> pass": _READ,
        "_is_about: return False -> return None": _TRUTH,
    },
    "paths": {
        "PathSearch._has_issued: return False -> return None": _TRUTH,
        "_could_have_issued: return False -> return None": _TRUTH,
    },
    "checkpoints": {
        "Checker.answered: (receipt.session_id, receipt.checkpoint_hash) != (self._session_id, hash_) "
        "or checkpoint is None -> (receipt.session_id, receipt.checkpoint_hash) != (self._session_id, hash_)": (
            "no receipt has an empty hash"
        ),
        "_is_repeated: return False -> return None": _TRUTH,
        "_is_repeated: return False -> return None #2": _TRUTH,
        "_registers: now = MeterRegisters(import_mwh=0, export_mwh=0) -> pass": _STARTED,
        "_registers: 0 -> 1": _STARTED,
        "_registers: 0 -> 1 #2": _STARTED,
    },
    "proof": {
        "_check_energy: 0 -> 1": "without a reading before it is not compared",
        "_check_energy: earlier < between(since, before) - between(before, before) "
        "-> earlier <= between(since, before) - between(before, before)": "both allow the same after them",
        "_Checker._accepted: standing is None or decision is None or (not decision.accepted) "
        "-> decision is None or not decision.accepted": "where no offer stands nothing was decided",
    },
    "price_plan": {
        "PricePlan.clock_cuts: (begin := local_day(day, zone)[0]) < end_ms "
        "-> (begin := local_day(day, zone)[0]) <= end_ms": "a cut at the end is none",
        "_clock_times: end_ms - begin_ms -> end_ms + begin_ms": _SLOWLY,
        "_clock_times: 1440 * MINUTE_MS -> 1440 // MINUTE_MS": _SLOWLY,
        "_clock_times: 1440 -> 1441": _SLOWLY,
        "_clock_times: 1440 -> 0": _SLOWLY,
    },
    "canonical": {"module: 'T' -> 'T?'": _NAMED},
    "dispute": {
        "dispute_files: True -> False": _EACH,
        "_body: True -> False": _EACH,
    },
    "meter_keys": {
        """_key: raise CodecError(f"the curve {key.curve.name} signs no meter's readings") -> pass""": (
            "cryptography 50 reads no other curve, 46 does"
        ),
    },
    "secc_2_safety": {
        "V2gMessageRequests._parameters: 0 -> 1": "a thousandth of an ampere is no watt",
        "_scaled: power >= 0 -> power > 0": "one is multiplied and divided by alike",
        "_scaled: 0 -> 1": "one is multiplied and divided by alike",
    },
    "secc_2_delivery": {"current_demand: max(0, output.charge_w) -> output.charge_w": "no output is negative"},
    "negotiated": {
        "module: 'SessionT' -> 'SessionT?'": _NAMED,
    },
    "conformity": {
        "module: 'T' -> 'T?'": _NAMED,
        "_subject_faults.wrong: '' -> '?'": "neither is a domain component",
    },
    "ledger": {
        "module: 4 -> 5": "one more is compared than has to be",
        "module: 8 -> 9": "one more is compared than has to be",
    },
    "booking": {
        "_wrong_signatures: known is not None and (fault := known.fault(case.evidence.station_id)) "
        "-> (fault := known.fault(case.evidence.station_id))": "a certificate that verifies signatures can be read",
    },
    "tariffs": {
        "Default.rank: self.from_ms or 0 -> self.from_ms": _NUMBERED,
        "Default.rank: 0 -> 1": _NUMBERED,
        "StationTariffs.offer: found is None or (evse.record is not None and evse.record.transaction_id in self._priced"
        ") -> evse.record is not None and evse.record.transaction_id in self._priced": "it follows an authorization",
        "StationTariffs.authorized: not isinstance(request, AuthorizeRequest) or not isinstance(answer, "
        "AuthorizeResponse) -> not isinstance(answer, AuthorizeResponse)": _PAIR,
        "StationTariffs._install: 0 -> 1": _NUMBERED,
        "StationTariffs._install: 1 -> 2": _NUMBERED,
        "StationTariffs._settle: 'tariffs' -> 'tariffs?'": _TIMER,
    },
    "local_cost": {
        "LocalCosts._switch: evse is None or evse.record is None -> evse is None and evse.record is None": _FOUND,
        "LocalCosts._switch: evse is None or evse.record is None -> evse.record is None": _FOUND,
        "LocalCosts._switch: evse is None or evse.record is None -> evse is None": _FOUND,
        "LocalCosts._begin: '' -> '?'": "nobody looks at the text, only at whose it is",
        "TariffCost.event_answered: not isinstance(request, TransactionEventRequest) or not isinstance(answer, "
        "TransactionEventResponse) -> not isinstance(answer, TransactionEventResponse)": _PAIR,
    },
    "priced": {"priced_from_now: 0 -> 1": _REPLACED, "priced_from_now: 0 -> 1 #2": _REPLACED},
    "prequalifications": {
        "export_of_values: 0.0 -> 1.0 #2": "what is above 0 counts as 0",
        "_why_not: each.valid_from_ms > at_ms -> each.valid_from_ms >= at_ms": "what begins now is valid",
    },
    "permits": {"module: 1.0 -> 2.0": _LOOKS, "module: 1.0 -> 0": _LOOKS},
    "grid_signal": {"module: 'S' -> 'S?'": _NAMED},
    "smart_charging": {
        "SmartCharging._set: is_local(profile) and (not await self.knows_local_time(station_id, zone)) -> "
        "not await self.knows_local_time(station_id, zone)": _SHORTER,
        "SmartCharging.check_command: evse or 0 -> evse": "no EVSE is as false as 0",
        "SmartCharging._check_export: services[ExportPermits].concerns(station_id) and "
        "(export_w := export_of(profile)) -> (export_w := export_of(profile))": _SHORTER,
        "SmartCharging.read_held: '' -> '?'": _STATUS,
        "SmartCharging._check_dynamic: not self._services[ExportPermits].concerns(station_id) or "
        "export_of_values(values) <= 0 -> not self._services[ExportPermits].concerns(station_id) and "
        "export_of_values(values) <= 0": _SHORTER,
        "SmartCharging._check_dynamic: not self._services[ExportPermits].concerns(station_id) or "
        "export_of_values(values) <= 0 -> export_of_values(values) <= 0": _SHORTER,
        "SmartCharging._check_dynamic: not self._services[ExportPermits].concerns(station_id) or "
        "export_of_values(values) <= 0 -> not self._services[ExportPermits].concerns(station_id)": _SHORTER,
        "SmartCharging._check_dynamic: export_of_values(values) <= 0 -> export_of_values(values) < 0": _SHORTER,
        "SmartCharging._takes_dynamic: return False -> return None": _TRUTH,
        "SmartCharging._takes_dynamic: return False -> return None #2": _TRUTH,
        "module: 20 -> 21": "in how many operations of the store stations are looked at comes to the same",
        "LimitCourse.__init__: 0 -> 1": "is more than a minute ago, too",
        "LimitCourse.run: 1000 -> 1001": _LOOKS,
        "LocalSchedules.run: 1000 -> 1001": _LOOKS,
        "LimitCourse.note: self._timed -= due -> pass": "a station that is looked at in vain has the same limits",
    },
    "vehicle_prices": {
        "with_prices: form == 'nothing' or profile.transaction_id is None -> form == 'nothing'": _SHORTER,
        "_look: transaction is None or needs is None -> needs is None": "needs are kept with their transaction",
    },
    "split": {
        "module: 'Key' -> 'Key?'": _NAMED,
        "Participant: 0 -> 1 #2": "a share below 1 W is none",
        "Participant: 0 -> 1 #3": "a share below 1 W is none",
        "split: setpoint_w >= 0 -> setpoint_w > 0": "shares of no power are 0 in both directions",
        "split: 0 -> 1": "shares of no power are 0 in both directions",
        "split: sign > 0 -> sign >= 0": "it is 1 or -1",
    },
    "dispatch": {
        "module: 'setpoint_unsure' -> 'setpoint_unsure?'": "a test of all declared events notices it",
        "Dispatch._distribute: break -> pass #2": "who has accepted is not sent it again",
        "Dispatch._within_sites: continue -> pass": "a site of none of the vehicles bounds none of them",
        "Dispatch._send_all: True -> False": _EACH,
        "Dispatch.set_point: 'import' -> 'import?'": "only whether the point exists is asked",
        "Dispatch.set_point: 0 -> 1": "only whether the point exists is asked",
        "Dispatch.set_point: '' -> '?'": "neither is the name of a source",
        "Dispatch.within_grid: setpoint_w > 0 -> setpoint_w >= 0": "0 stays 0 in both directions",
        "note: order.parts or {} -> order.parts": "a fleet's order always has parts",
        "Dispatch._set: max(1, -(-(end_ms - now_ms) // 1000)) -> -(-(end_ms - now_ms) // 1000)": _IN_FORCE,
        "Dispatch._set: 1 -> 0": _IN_FORCE,
    },
    "fleets": {
        "Fleets.run: 0 -> 1": "it is later than 1970",
        "Fleets.give: 0 -> 1": "it is later than 1970",
        "Fleets._dispatch_plan: 'vehicle' -> 'vehicle?'": "nobody looks at the name of this source",
        "Fleets._dispatch_plan: True -> False": _EACH,
    },
    "site_state": {
        "Balancer.balance: True -> False #2": _EACH,
        "_spread: 1 -> 2": "a share on a phase of its own says numberPhases 1",
        "Balancer._send: change.limit > given[place.id] -> change.limit >= given[place.id]": (
            "a change is to another value"
        ),
        "Balancer._send: return False -> return None": _TRUTH,
        "Balancer._send: return False -> return None #2": _TRUTH,
        "Balancer._send: return False -> return None #3": _TRUTH,
    },
    "verify": {
        "_is_host_below: '.' -> '.?'": _HOSTS,
        "_is_host_below: '.' -> '.?' #2": _HOSTS,
        "_is_uri_at: '.' -> '.?' #2": _HOSTS,
    },
    "pricing": {
        "_at_tariff: True -> False": "there is one register more than parts",
        "_replaced: piece.price or 0 -> piece.price": "what is corrected has a price",
        "PriceBook.cuts: max(0, bisect_right(self._since, start_ms) - 1) -> 0": _EARLIER,
        "PriceBook.cuts: 1 -> 2": _EARLIER,
    },
}
"""Module -> name of a mutant -> why nobody can tell it from the module."""
