"""What a plan by prices starts from, in every edition."""

from evcc.policy.plans import Storage
from evcc.session.context import Context


def wants_plan(context: Context) -> bool:
    """Return whether the program plans by prices."""
    return any(step.do == "plan" for step in context.config.program)


def storage(context: Context) -> Storage:
    """Return the battery and the driver's needs, with charging losses included."""
    battery, needs, config = context.battery, context.config.needs, context.config

    def energy(soc: float) -> int:
        return int(battery.capacity_wh * soc / 100)

    def drawn(soc: float) -> int:
        """Return the energy for a state of charge including the losses of charging; present energy has no losses."""
        missing = energy(soc) - present
        return present + (int(missing * losses) if missing > 0 else missing)

    present = energy(battery.soc)
    losses = 1 + config.planning.losses_percent / 100
    floor = config.discharge.minimum_soc
    if config.discharge.departure_soc is not None:
        floor = max(floor, config.discharge.departure_soc)
    return Storage(
        energy_wh=present,
        capacity_wh=max(present, battery.capacity_wh),
        target_wh=drawn(needs.target_soc),
        minimum_wh=drawn(needs.minimum_soc),
        reserve_wh=energy(floor),
        wear=float(config.planning.wear),
    )
