"""Which needs of the vehicle the back end knows."""

from v2g.energy.needs import EvNeeds


class ReportedNeeds:
    """What was last reported of one vehicle."""

    def __init__(self) -> None:
        self.known: EvNeeds | None = None
        self._asked_anew = False

    def ask_anew(self) -> None:
        """The vehicle is asked to agree on a schedule anew: what it then says may be known already."""
        self._asked_anew = True

    def report(self, needs: EvNeeds, *, charging: bool) -> bool:
        """Say whether these needs are to be reported, as they are from then on.

        The back end knows those of a vehicle that goes on charging and was only asked to agree anew (K16.FR.09).
        """
        asked, self._asked_anew = self._asked_anew, False
        if asked and charging and self.known is not None and needs.go_on_from(self.known):
            return False
        self.known = needs
        return True
