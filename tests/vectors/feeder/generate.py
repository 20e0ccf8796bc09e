"""Writes pandapower.jsonl: random radial feeders and their voltages by pandapower's Newton-Raphson load flow.

Run in an environment of its own: pip install pandapower==3.5.6; python generate.py
"""

import json
import random
from pathlib import Path

import pandapower as pp

SEED, FEEDERS = 46, 24


def feeder(chance: random.Random) -> dict[str, object]:
    head_v = round(chance.uniform(225, 245), 2)
    net = pp.create_empty_network(f_hz=50)
    line_v = head_v * 3**0.5
    buses = {"": pp.create_bus(net, vn_kv=line_v / 1000)}
    pp.create_ext_grid(net, buses[""], vm_pu=1.0)
    nodes, draws = [], {}
    for number in range(1, chance.randint(2, 12)):
        name, parent = f"n{number}", chance.choice(list(buses))
        r_ohm, x_ohm = round(chance.uniform(0.005, 0.25), 4), round(chance.uniform(0.002, 0.12), 4)
        buses[name] = pp.create_bus(net, vn_kv=line_v / 1000)
        pp.create_line_from_parameters(
            net,
            buses[parent],
            buses[name],
            length_km=1,
            r_ohm_per_km=r_ohm,
            x_ohm_per_km=x_ohm,
            c_nf_per_km=0,
            max_i_ka=1,
        )
        load_w, load_var = chance.randint(0, 8_000), chance.randint(-1_000, 2_000)
        draw_w, draw_var = chance.randint(-12_000, 6_000), chance.randint(-4_000, 4_000)
        pp.create_load(net, buses[name], p_mw=(load_w + draw_w) / 1e6, q_mvar=(load_var + draw_var) / 1e6)
        nodes.append(
            {"name": name, "parent": parent, "r_ohm": r_ohm, "x_ohm": x_ohm, "load_w": load_w, "load_var": load_var}
        )
        draws[name] = [draw_w, draw_var]
    pp.runpp(net, algorithm="nr", tolerance_mva=1e-12, numba=False)
    volts = {name: round(float(net.res_bus.vm_pu[bus]) * head_v, 6) for name, bus in buses.items() if name}
    return {"head_v": head_v, "nodes": nodes, "draws": draws, "volts": volts}


if __name__ == "__main__":
    chance = random.Random(SEED)
    lines = [json.dumps(feeder(chance)) for _ in range(FEEDERS)]
    (Path(__file__).parent / "pandapower.jsonl").write_text("\n".join(lines) + "\n")
