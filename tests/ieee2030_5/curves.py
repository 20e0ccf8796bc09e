"""Documents of a utility with functions of inverters."""

NS = 'xmlns="urn:ieee:std:2030.5:ns"'
BASE = (
    f"<DERControlBase {NS}><opModEnergize>true</opModEnergize>"
    "<opModFixedPFInjectW><displacement>950</displacement><excitation>true</excitation><multiplier>-3</multiplier>"
    "</opModFixedPFInjectW><opModFixedVar><refType>2</refType><value>-2500</value></opModFixedVar>"
    "<opModFreqDroop><dBOF>36</dBOF><dBUF>200</dBUF><kOF>50</kOF><kUF>40</kUF><openLoopTms>500</openLoopTms>"
    '</opModFreqDroop><opModVoltVar href="/dc/1"/><opModVoltWatt href="/dc/2"/></DERControlBase>'
)


def curve(
    kind: int, points: list[tuple[int, int]], *, unit: int = 2, ends: str = "", x: int = 0, y: int = 0, more: str = ""
) -> bytes:
    """`more`: elements before the kind of curve, `ends`: a flag in each point."""
    data = "".join(f"<CurveData>{ends}<xvalue>{a}</xvalue><yvalue>{b}</yvalue></CurveData>" for a, b in points)
    rest = f"<xMultiplier>{x}</xMultiplier><yMultiplier>{y}</yMultiplier><yRefType>{unit}</yRefType>"
    first, _, last = more.partition("|")
    return (
        f'<DERCurve {NS} href="/dc/1"><mRID>0A</mRID>{first}<creationTime>5</creationTime>{data}'
        f"<curveType>{kind}</curveType>{last}{rest}</DERCurve>"
    ).encode()


VOLT_VAR = [(9200, 440), (9800, 0), (10_200, 0), (10_800, -440)]
