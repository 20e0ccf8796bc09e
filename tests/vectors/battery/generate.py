"""Writes the vectors of this folder by PyBaMM's electrochemical models: `make battery-truth`, about half an hour.

Cells are described by published parameters: Chen2020 (NMC811 and graphite-silicon, LG M50, 5 Ah), Prada2013 (LFP and
graphite, A123, 2.3 Ah) and OKane2022 (Chen2020 with its ageing). `python generate.py traces` writes what the product
knows of a cell, and drives; `aged` cells over their life; `fleet` capacities of a fleet, month by month.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pybamm
from scipy.optimize import least_squares

FOLDER = Path(__file__).parent
PRODUCT = FOLDER.parents[2] / "v2g" / "battery" / "data" / "cells.json"
STEP_S = 10
CELLS = {"nmc": "Chen2020", "lfp": "Prada2013"}
GRID = np.round(np.unique(np.r_[0, 0.01, 0.02, 0.035, np.linspace(0.05, 0.95, 37), 0.965, 0.98, 0.99, 1]), 4)

pybamm.set_logging_level("WARNING")


def stoichiometries(values: pybamm.ParameterValues) -> dict[str, float]:
    """Return those of the empty and the full cell, and its capacity (Ah) between its limits, in equilibrium."""
    names = pybamm.LithiumIonParameters()
    amounts = {
        "Q_n": values.evaluate(names.n.Q_init),
        "Q_p": values.evaluate(names.p.Q_init),
        "Q_Li": values.evaluate(names.Q_Li_particles_init),
    }
    found = pybamm.lithium_ion.ElectrodeSOHSolver(values, names).solve(amounts)
    return {key: float(found[key]) for key in ("x_0", "x_100", "y_0", "y_100", "Q")}


def ocv(values: pybamm.ParameterValues, at: dict[str, float]) -> list[list[float]]:
    """Return pairs of state of charge and open-circuit voltage (V)."""
    names = pybamm.LithiumIonParameters()
    pairs = []
    for soc in GRID:
        x = at["x_0"] + soc * (at["x_100"] - at["x_0"])
        y = at["y_0"] + soc * (at["y_100"] - at["y_0"])
        ambient = values["Ambient temperature [K]"]
        volts = values.evaluate(names.p.prim.U(pybamm.Scalar(y), ambient)) - values.evaluate(
            names.n.prim.U(pybamm.Scalar(x), ambient)
        )
        pairs.append([float(soc), round(float(volts), 5)])
    return pairs


def half_cells(values: pybamm.ParameterValues, at: dict[str, float]) -> dict[str, Any]:
    """Return points of each electrode's filling and voltage (V), beyond what a fresh cell uses, within 0.2 mV."""
    names, ambient = pybamm.LithiumIonParameters(), values["Ambient temperature [K]"]
    found: dict[str, Any] = {}
    for key, electrode, least, most in (
        ("positive", names.p, max(0.002, at["y_100"] - 0.05), min(0.995, at["y_0"] + 0.12)),
        ("negative", names.n, 0.004, min(0.995, at["x_100"] + 0.05)),
    ):
        fillings = np.linspace(least, most, 2001)
        volts = np.array([float(values.evaluate(electrode.prim.U(pybamm.Scalar(each), ambient))) for each in fillings])
        found[key] = [[round(float(fillings[n]), 5), round(float(volts[n]), 5)] for n in thinned(fillings, volts, 2e-4)]
    return found | {key: round(at[key], 6) for key in ("x_0", "x_100", "y_0", "y_100")}


def thinned(x: np.ndarray, y: np.ndarray, within: float) -> list[int]:
    """Return the points of which a line stays within so much of all points (Douglas and Peucker)."""
    chord = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    worst = int(np.argmax(np.abs(y - chord)))
    if abs(y[worst] - chord[worst]) <= within:
        return [0, len(x) - 1]
    left, right = thinned(x[: worst + 1], y[: worst + 1], within), thinned(x[worst:], y[worst:], within)
    return left + [worst + each for each in right[1:]]


def drive(seed: int, capacity_ah: float, soc: float) -> np.ndarray:
    """Return a day's current (A, positive while charging) in steps: driving, parking, V2G, charging."""
    chance = np.random.default_rng(seed)
    rates: list[float] = []

    def add(minutes: float, rate: Any) -> None:
        nonlocal soc
        for _ in range(int(minutes * 60 / STEP_S)):
            now = rate() if callable(rate) else rate
            if (now < 0 and soc < 0.15) or (now > 0 and soc > 0.92):
                now = 0.0
            soc += now * STEP_S / 3600
            rates.append(now)

    state = [0.0]

    def city() -> float:
        state[0] = 0.8 * state[0] + chance.normal(-0.05, 0.35)
        return float(np.clip(state[0], -2.0, 0.8))

    def highway() -> float:
        state[0] = 0.9 * state[0] + chance.normal(-0.045, 0.08)
        return float(np.clip(state[0], -1.5, 0.5))

    def reserve() -> float:
        state[0] = 0.97 * state[0] + chance.normal(0, 0.05)
        return float(np.clip(state[0], -0.3, 0.3))

    add(40, city), add(25, highway), add(60, 0.0)
    add(90, -0.12), add(30, 0.0), add(120, reserve)
    add(30, 0.5), add(20, 0.0), add(30, highway), add(20, city), add(45, 0.0)
    add(45, 0.8), add(10, 0.3), add(60, 0.0), add(60, reserve), add(40, highway), add(60, 0.0)
    return np.round(np.array(rates) * capacity_ah, 3)


def run(name: str, current_a: np.ndarray, soc: float, thermal: bool, ambient_c: float = 25.0) -> dict[str, np.ndarray]:
    """Return what a Doyle-Fuller-Newman cell does at the end of each step."""
    values = pybamm.ParameterValues(name)
    values["Ambient temperature [K]"] = values["Initial temperature [K]"] = ambient_c + 273.15
    values["Lower voltage cut-off [V]"] -= 0.3  # only our own limits end a run
    values["Upper voltage cut-off [V]"] += 0.2
    ends = np.arange(1, len(current_a) + 1) * float(STEP_S)
    times = np.sort(np.r_[0.0, ends - 0.01, ends[:-1]])
    amperes = -np.repeat(current_a, 2)
    values["Current function [A]"] = pybamm.Interpolant(times, amperes, pybamm.t, interpolator="linear")
    model = pybamm.lithium_ion.DFN({"thermal": "lumped"} if thermal else {})
    original = stoichiometries(pybamm.ParameterValues(name))
    span = original["x_100"] - original["x_0"], original["y_100"] - original["y_0"]
    concentrations = values.copy()
    concentrations["Initial concentration in negative electrode [mol.m-3]"] = (
        original["x_0"] + soc * span[0]
    ) * values["Maximum concentration in negative electrode [mol.m-3]"]
    concentrations["Initial concentration in positive electrode [mol.m-3]"] = (
        original["y_0"] + soc * span[1]
    ) * values["Maximum concentration in positive electrode [mol.m-3]"]
    simulation = pybamm.Simulation(model, parameter_values=concentrations, solver=pybamm.IDAKLUSolver())
    solution = simulation.solve(times[:-1] if len(times) % 2 else times)
    at = ends - 0.02
    charged = np.cumsum(current_a) * STEP_S / 3600
    return {
        "current_a": current_a,
        "voltage_v": solution["Voltage [V]"](at),
        "temperature_c": solution["Volume-averaged cell temperature [C]"](at),
        "soc": soc + charged / original["Q"],
    }


def fitted(pairs: list[list[float]], capacity_ah: float, trace: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the resistances (ohm Ah) and times (s) of two RC pairs that follow a trace best."""
    open_v = np.interp(trace["soc"], *np.array(pairs).T)

    def error(p: np.ndarray) -> np.ndarray:
        r0, r1, r2 = p[:3]
        t1, t2 = np.exp(p[3:])
        volts, v1, v2 = np.empty_like(open_v), 0.0, 0.0
        a1, a2 = np.exp(-STEP_S / t1), np.exp(-STEP_S / t2)
        for n, amps in enumerate(trace["current_a"] / capacity_ah):
            v1 = a1 * v1 + r1 * (1 - a1) * amps
            v2 = a2 * v2 + r2 * (1 - a2) * amps
            volts[n] = open_v[n] + v1 + v2 + r0 * amps
        return volts - trace["voltage_v"]

    lowest, highest = [1e-3, 1e-3, 1e-3, np.log(10), np.log(200)], [1, 1, 1, np.log(100), np.log(3600)]
    start = [0.1, 0.05, 0.03, np.log(30), np.log(900)]
    best = least_squares(error, start, bounds=(lowest, highest), loss="soft_l1", f_scale=0.01)
    r0, r1, r2, t1, t2 = *best.x[:3], *np.exp(best.x[3:])
    return {
        "r0_ohm_ah": round(r0, 5),
        "r1_ohm_ah": round(r1, 5),
        "tau1_s": round(t1, 2),
        "r2_ohm_ah": round(r2, 5),
        "tau2_s": round(t2, 1),
        "rms_mv": round(float(np.sqrt(np.mean(error(best.x) ** 2))) * 1000, 2),
    }


def traces() -> None:
    """Write what the product knows of each cell, and a day's trace of each cell that was not used to fit it."""
    cells = {}
    for chemistry, name in CELLS.items():
        values = pybamm.ParameterValues(name)
        at = stoichiometries(values)
        pairs = ocv(values, at)
        thermal = chemistry == "nmc"  # Prada2013 has no thermal parameters
        training = run(name, drive(1, at["Q"], 0.9), 0.9, thermal)
        cells[chemistry] = {
            "source": name,
            "capacity_ah": round(at["Q"], 5),
            **half_cells(values, at),
            **fitted(pairs, at["Q"], training),
        }
        held_out = run(name, drive(2, at["Q"], 0.85), 0.85, thermal)
        write(f"drive_{chemistry}.csv", held_out)
    PRODUCT.write_text(json.dumps(cells, separators=(",", ":")) + "\n")


def write(name: str, trace: dict[str, np.ndarray]) -> None:
    """Write a trace: mA, 0.1 mV, 0.01 degC, at the end of each step of 10 s."""
    scales = (("current_a", 1e3), ("voltage_v", 1e4), ("temperature_c", 1e2))
    columns = zip(*(np.round(trace[key] * scale).astype(int) for key, scale in scales), strict=True)
    rows = "\n".join(",".join(map(str, row)) for row in columns)
    (FOLDER / name).write_text(f"current_ma,voltage_01mv,temperature_cc\n{rows}\n")


ACCELERATION = 10
"""Ageing runs this much faster: three days stand for a month. The SEI's growth and the loss of active material are
proportional to their constants, so only the day's own losses are exaggerated."""
DAYS, MONTHS = 3, 48
AGEING = {
    "SEI solvent diffusivity [m2.s-1]": 20,
    "Positive electrode LAM constant proportional term [s-1]": 8,
    "Negative electrode LAM constant proportional term [s-1]": 8,
}
"""Cells of these parameters keep their capacity for decades; these factors age them in years."""


def ageing_cell(chemistry: str) -> pybamm.ParameterValues:
    """Return a cell that ages: OKane2022, or Prada2013 with the SEI of OKane2022 on its graphite."""
    values = pybamm.ParameterValues("OKane2022")
    if chemistry == "lfp":
        lfp = pybamm.ParameterValues("Prada2013")
        taken = {key: values[key] for key in values if "SEI" in key or "EC " in key or "LAM" in key or "solvent" in key}
        names = set(lfp.keys())
        lfp.update({key: value for key, value in taken.items() if key not in names}, check_already_exists=False)
        values = lfp
    for key, factor in AGEING.items():
        values[key] = values[key] * ACCELERATION * factor
    return values


def lived(seed: int, chemistry: str, *, sampled: bool) -> dict[str, Any]:
    """Return the capacity (Ah) of a cell after each month of a random use and climate, and a day's samples of each."""
    chance = np.random.default_rng(seed)
    climate_c, season_c = float(chance.uniform(8, 30)), float(chance.uniform(2, 9))
    rate, minutes = float(chance.uniform(0.25, 0.6)), float(chance.uniform(20, 45))
    top_v = float(chance.uniform(3.95, 4.15)) if chemistry == "nmc" else float(chance.uniform(3.38, 3.5))
    values = ageing_cell(chemistry)
    nominal = float(values["Nominal cell capacity [A.h]"])
    floor_v = 3.0 if chemistry == "nmc" else 2.7
    options = {"SEI": "solvent-diffusion limited"}
    if chemistry == "nmc":
        options |= {"loss of active material": "stress-driven", "particle mechanics": "swelling only"}
        options |= {"SEI film resistance": "distributed"}
    days = []
    for day in range(MONTHS * DAYS):
        ambient = climate_c + season_c * np.cos(2 * np.pi * (day // DAYS) / 12)
        heat = f"{ambient:.1f}oC"
        if sampled:  # days differ; the last one of a month is stored
            minutes, top_v = [(20.0, 3.95), (35.0, 4.05), (55.0, 4.15), (35.0, 4.18)][int(chance.integers(4))]
        use = [
            f"Discharge at {rate:.3f}C for {minutes:.0f} minutes or until {floor_v} V",
            f"Discharge at {rate / 3:.3f}C for 20 minutes or until {floor_v} V",
            f"Discharge at {rate:.3f}C for {minutes:.0f} minutes or until {floor_v} V",
            "Rest for 3 hours",
            f"Charge at 0.3C for 4 hours or until {top_v:.2f} V",
            "Rest for 3 hours",
        ]
        days.append(tuple(pybamm.step.string(each, temperature=heat, period="10 minutes") for each in use))
    values["Ambient temperature [K]"] = values["Initial temperature [K]"] = climate_c + 273.15
    model = pybamm.lithium_ion.SPMe(options) if sampled else pybamm.lithium_ion.SPM(options)
    simulation = pybamm.Simulation(
        model, parameter_values=values, experiment=pybamm.Experiment(days), solver=pybamm.IDAKLUSolver()
    )
    solution = simulation.solve(initial_soc=0.85)
    capacities = [round(float(each), 4) for each in solution.summary_variables["Capacity [A.h]"]]
    found: dict[str, Any] = {
        "seed": seed,
        "chemistry": chemistry,
        "nominal_ah": nominal,
        "climate_c": round(climate_c, 1),
        "rate_c": round(rate, 3),
        "fresh_ah": capacities[0],
        "capacity_ah": capacities[DAYS - 1 :: DAYS],
    }
    if sampled:
        found["days"] = [samples(solution.cycles[number]) for number in range(DAYS - 1, MONTHS * DAYS, DAYS)]
    return found


def samples(day: Any) -> list[list[int]]:
    """Return s, mA (positive while charging) and 0.1 mV at each end of a step, 10 s after it, and each 20 minutes."""
    rows, start = [], day.t[0]
    for step in day.steps:
        if step.t[-1] - step.t[0] < 30:
            continue
        times = np.unique(np.r_[step.t[0] + 10, np.arange(step.t[0] + 1200, step.t[-1], 1200), step.t[-1]])
        currents, volts = step["Current [A]"](times), step["Voltage [V]"](times)
        rows += [
            [round(t - start), round(-a * 1000), round(v * 10000)]
            for t, a, v in zip(times, currents, volts, strict=True)
        ]
    return rows


def aged() -> None:
    """Write days of three cells over their life, with the capacity (Ah) that a slow discharge between limits gives."""
    lines = [json.dumps(lived(seed, "nmc", sampled=True), separators=(",", ":")) for seed in (11, 12, 13)]
    (FOLDER / "aged.jsonl").write_text("\n".join(lines) + "\n")


def fleet() -> None:
    """Write the capacity of 40 vehicles of two chemistries, month by month."""
    chemistries = ["nmc", "nmc", "nmc", "lfp"] * 10
    lines = [
        json.dumps(lived(100 + number, each, sampled=False), separators=(",", ":"))
        for number, each in enumerate(chemistries)
    ]
    (FOLDER / "fleet.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for each in sys.argv[1:]:
        {"traces": traces, "aged": aged, "fleet": fleet}[each]()
