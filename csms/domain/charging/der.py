"""DER controls: the member of SetDERControl that each type needs, and the controls in reports (R04)."""

from collections.abc import Iterator
from typing import Final

from v2g.ocpp.messages.der_control import ReportDERControlRequest, SetDERControlRequest

_MEMBERS: Final = {
    "EnterService": "enter_service",
    "FixedPFAbsorb": "fixed_pf_absorb",
    "FixedPFInject": "fixed_pf_inject",
    "FixedVar": "fixed_var",
    "FreqDroop": "freq_droop",
    "Gradients": "gradient",
    "LimitMaxDischarge": "limit_max_discharge",
}
"""Types whose values are not a curve."""

_ALL: Final = ("curve", *_MEMBERS.values())


def control_fits(control: SetDERControlRequest) -> bool:
    """Return whether a control has exactly the one member that its type needs."""
    wanted = _MEMBERS.get(control.control_type, "curve")
    return [name for name in _ALL if getattr(control, name) is not None] == [wanted]


def reported(report: ReportDERControlRequest) -> Iterator[tuple[SetDERControlRequest, bool]]:
    """Yield each control of a report as it was set, and whether it is superseded."""
    for curve in report.curve:
        yield (
            SetDERControlRequest(
                is_default=curve.is_default, control_id=curve.id, control_type=curve.curve_type, curve=curve.curve
            ),
            curve.is_superseded,
        )
    for service in report.enter_service:
        yield (
            SetDERControlRequest(
                is_default=True, control_id=service.id, control_type="EnterService", enter_service=service.enter_service
            ),
            False,
        )
    for gradient in report.gradient:
        yield (
            SetDERControlRequest(
                is_default=True, control_id=gradient.id, control_type="Gradients", gradient=gradient.gradient
            ),
            False,
        )
    for absorb in report.fixed_pf_absorb:
        yield (
            SetDERControlRequest(
                is_default=absorb.is_default,
                control_id=absorb.id,
                control_type="FixedPFAbsorb",
                fixed_pf_absorb=absorb.fixed_pf,
            ),
            absorb.is_superseded,
        )
    for inject in report.fixed_pf_inject:
        yield (
            SetDERControlRequest(
                is_default=inject.is_default,
                control_id=inject.id,
                control_type="FixedPFInject",
                fixed_pf_inject=inject.fixed_pf,
            ),
            inject.is_superseded,
        )
    for var in report.fixed_var:
        yield (
            SetDERControlRequest(
                is_default=var.is_default, control_id=var.id, control_type="FixedVar", fixed_var=var.fixed_var
            ),
            var.is_superseded,
        )
    for droop in report.freq_droop:
        yield (
            SetDERControlRequest(
                is_default=droop.is_default, control_id=droop.id, control_type="FreqDroop", freq_droop=droop.freq_droop
            ),
            droop.is_superseded,
        )
    for bound in report.limit_max_discharge:
        yield (
            SetDERControlRequest(
                is_default=bound.is_default,
                control_id=bound.id,
                control_type="LimitMaxDischarge",
                limit_max_discharge=bound.limit_max_discharge,
            ),
            bound.is_superseded,
        )
