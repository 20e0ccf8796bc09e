"""`v2g terminal-sim`: a payment terminal with ZVT, for a charger configured for a real one."""

import asyncio
from typing import Annotated, Final

import typer

from v2g.errors import ConfigError
from v2g.hardware.zvt.terminal_sim import Card
from v2g.io.hardware.zvt_terminal import ZvtSimulator
from v2g_cli.typed import obey_until_stopped

HELP: Final = "card LAST4, bad LAST4, show"


def terminal_sim(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 20007,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    card: Annotated[str, typer.Option(help="Last digits of a card that is presented automatically.")] = "",
    after: Annotated[float, typer.Option(min=0, help="Delay of that card, s.")] = 1.0,
) -> None:
    """Run a simulated payment terminal (ZVT over TCP) until it is stopped.

    Examples: `v2g terminal-sim`, `v2g terminal-sim --port 0 --card 4771 --after 5`

    Lines on standard input present a card: a valid one, or one that its bank declines.
    """
    asyncio.run(_run(ZvtSimulator(host=host, port=port, card=_card(card) if card else None, card_s=after), host))


async def _run(simulator: ZvtSimulator, host: str) -> None:
    await simulator.open()
    running = f"terminal at {host}, port {simulator.port}"
    await obey_until_stopped(running, HELP, lambda line: obey(simulator, line))
    await simulator.close()


def obey(simulator: ZvtSimulator, line: str) -> str:
    """Run one command line; return the output. Raises ConfigError for an unknown command."""
    match line.split():
        case []:
            return ""
        case ["show"]:
            payments = simulator.terminal.payments.items()
            return "".join(f"{number} {each.state} {each.reserved} {each.taken}\n" for number, each in payments)
        case [("card" | "bad") as word, digits]:
            if not simulator.terminal.waits_for_card:
                return "no card is expected now\n"
            simulator.present(_card(digits, good=word == "card"))
            return ""
        case _:
            raise ConfigError(f"unknown command {line.strip()!r}", hint=HELP)


def _card(digits: str, *, good: bool = True) -> Card:
    if len(digits) != 4 or not (digits.isascii() and digits.isdecimal()):
        raise ConfigError(f"{digits!r}: give the last four digits of a card", hint="such as 4771")
    return Card(last4=digits, good=good)
