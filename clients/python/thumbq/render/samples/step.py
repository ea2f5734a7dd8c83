"""A bolt as a STEP file (ISO 10303-21, AP214): exact planes, cylinders and cones instead of triangles."""

import math
from itertools import pairwise

Place = tuple[float, float, float]

HEAD, HEIGHT = 0.95, 0.62
SHAFT = [(0.5, HEIGHT), (0.5, 1.3)]
for turn in range(9):
    SHAFT += [(0.42, 1.3 + 0.18 * turn + 0.09), (0.5, 1.3 + 0.18 * turn + 0.18)]
SHAFT += [(0.38, 3.04)]


class _StepFile:
    """Numbers the entities of a STEP file as they are added."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, entity: str) -> str:
        """Append an entity and return its reference."""
        self.lines.append(f"#{len(self.lines) + 1}={entity};")
        return f"#{len(self.lines)}"

    def point(self, x: float, y: float, z: float) -> str:
        return self.add(f"CARTESIAN_POINT('',({x:.5f},{y:.5f},{z:.5f}))")

    def direction(self, x: float, y: float, z: float) -> str:
        return self.add(f"DIRECTION('',({x:.5f},{y:.5f},{z:.5f}))")

    def axes(self, z: float, *, down: bool = False) -> str:
        """Return a coordinate system on the bolt's axis."""
        up = self.direction(0, 0, -1 if down else 1)
        return self.add(f"AXIS2_PLACEMENT_3D('',{self.point(0, 0, z)},{up},{self.direction(1, 0, 0)})")

    def vertex(self, x: float, y: float, z: float) -> str:
        return self.add(f"VERTEX_POINT('',{self.point(x, y, z)})")

    def line(self, start: Place, end: Place, first: str, last: str) -> str:
        """Return the straight edge between two vertices."""
        length = math.dist(start, end)
        way = self.direction(*((b - a) / length for a, b in zip(start, end, strict=True)))
        vector = self.add(f"VECTOR('',{way},{length:.5f})")
        curve = self.add(f"LINE('',{self.point(*start)},{vector})")
        return self.add(f"EDGE_CURVE('',{first},{last},{curve},.T.)")

    def circle(self, radius: float, z: float, vertex: str) -> str:
        """Return a whole circle about the axis, counter-clockwise seen from above."""
        curve = self.add(f"CIRCLE('',{self.axes(z)},{radius:.5f})")
        return self.add(f"EDGE_CURVE('',{vertex},{vertex},{curve},.T.)")

    def face(self, surface: str, *loops: list[tuple[str, bool]]) -> str:
        """Return a face whose loops run counter-clockwise about its outward normal, holes clockwise."""
        bounds = []
        for number, loop in enumerate(loops):
            edges = [self.add(f"ORIENTED_EDGE('',*,*,{edge},{_logical(forward)})") for edge, forward in loop]
            kind = "FACE_BOUND" if number else "FACE_OUTER_BOUND"
            outline = self.add(f"EDGE_LOOP('',({','.join(edges)}))")
            bounds.append(self.add(f"{kind}('',{outline},.T.)"))
        return self.add(f"ADVANCED_FACE('',({','.join(bounds)}),{surface},.T.)")


def _logical(value: bool) -> str:
    return ".T." if value else ".F."


def bolt() -> bytes:
    """Return a hexagonal bolt that stands on its head; vertical axis z."""
    file = _StepFile()
    faces = [*_head(file, rim := _ring(file, *SHAFT[0])), *_shaft(file, rim)]
    shell = file.add(f"CLOSED_SHELL('',({','.join(faces)}))")
    solid = file.add(f"MANIFOLD_SOLID_BREP('bolt',{shell})")
    _product(file, solid)
    header = (
        "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION(('thumbq sample'),'2;1');\n"
        "FILE_NAME('bolt.step','2024-01-01T00:00:00',(''),(''),'','','');\n"
        "FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }'));\nENDSEC;\nDATA;\n"
    )
    return (header + "\n".join(file.lines) + "\nENDSEC;\nEND-ISO-10303-21;\n").encode()


_Ring = tuple[str, str]  # the vertex and the circular edge


def _ring(file: _StepFile, radius: float, z: float) -> _Ring:
    vertex = file.vertex(radius, 0, z)
    return vertex, file.circle(radius, z, vertex)


def _head(file: _StepFile, rim: _Ring) -> list[str]:
    corners = [(HEAD * math.cos(a), HEAD * math.sin(a)) for a in (math.tau * i / 6 for i in range(6))]
    low: list[Place] = [(x, y, 0.0) for x, y in corners]
    high: list[Place] = [(x, y, HEIGHT) for x, y in corners]
    low_ends, high_ends = [file.vertex(*p) for p in low], [file.vertex(*p) for p in high]
    after = [1, 2, 3, 4, 5, 0]
    bottom = [file.line(low[i], low[after[i]], low_ends[i], low_ends[after[i]]) for i in range(6)]
    top = [file.line(high[i], high[after[i]], high_ends[i], high_ends[after[i]]) for i in range(6)]
    upright = [file.line(low[i], high[i], low_ends[i], high_ends[i]) for i in range(6)]
    under = file.add(f"PLANE('',{file.axes(0, down=True)})")
    over = file.add(f"PLANE('',{file.axes(HEIGHT)})")
    faces = [
        file.face(under, [(edge, False) for edge in reversed(bottom)]),
        file.face(over, [(edge, True) for edge in top], [(rim[1], False)]),
    ]
    for i in range(6):
        middle = math.tau * (i + 0.5) / 6
        outwards = file.direction(math.cos(middle), math.sin(middle), 0)
        along = file.direction(-math.sin(middle), math.cos(middle), 0)
        axes = file.add(f"AXIS2_PLACEMENT_3D('',{file.point(*low[i])},{outwards},{along})")
        side = file.add(f"PLANE('',{axes})")
        faces.append(
            file.face(side, [(bottom[i], True), (upright[after[i]], True), (top[i], False), (upright[i], False)])
        )
    return faces


def _shaft(file: _StepFile, rim: _Ring) -> list[str]:
    faces = []
    for (radius, z), (next_radius, next_z) in pairwise(SHAFT):
        following = _ring(file, next_radius, next_z)
        seam = file.line((radius, 0, z), (next_radius, 0, next_z), rim[0], following[0])
        slope = math.atan2(abs(next_radius - radius), next_z - z)
        if next_radius == radius:
            around = file.add(f"CYLINDRICAL_SURFACE('',{file.axes(z)},{radius:.5f})")
        elif next_radius > radius:
            around = file.add(f"CONICAL_SURFACE('',{file.axes(z)},{radius:.5f},{slope:.7f})")
        else:
            around = file.add(f"CONICAL_SURFACE('',{file.axes(next_z, down=True)},{next_radius:.5f},{slope:.7f})")
        faces.append(file.face(around, [(rim[1], True), (seam, True), (following[1], False), (seam, False)]))
        rim = following
    end = file.add(f"PLANE('',{file.axes(SHAFT[-1][1])})")
    return [*faces, file.face(end, [(rim[1], True)])]


def _product(file: _StepFile, solid: str) -> None:
    """Add the rest of a STEP file around the solid: a product, its units and its colour."""
    application = file.add("APPLICATION_CONTEXT('automotive_design')")
    mechanical = file.add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
    product = file.add(f"PRODUCT('bolt','bolt','',({mechanical}))")
    formation = file.add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    design = file.add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
    definition = file.add(f"PRODUCT_DEFINITION('design','',{formation},{design})")
    form = file.add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    length = file.add("(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.))")
    angle = file.add("(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))")
    solid_angle = file.add("(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
    accuracy = file.add(f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-04),{length},'distance_accuracy_value','')")
    context = file.add(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3)GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({accuracy}))"
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid_angle}))REPRESENTATION_CONTEXT('',''))"
    )
    shape = file.add(f"ADVANCED_BREP_SHAPE_REPRESENTATION('',({file.axes(0)},{solid}),{context})")
    file.add(f"SHAPE_DEFINITION_REPRESENTATION({form},{shape})")
    color = file.add("COLOUR_RGB('',0.56,0.63,0.72)")
    fill_color = file.add(f"FILL_AREA_STYLE_COLOUR('',{color})")
    fill = file.add(f"FILL_AREA_STYLE('',({fill_color}))")
    fill_style = file.add(f"SURFACE_STYLE_FILL_AREA({fill})")
    side = file.add(f"SURFACE_SIDE_STYLE('',({fill_style}))")
    usage = file.add(f"SURFACE_STYLE_USAGE(.BOTH.,{side})")
    assignment = file.add(f"PRESENTATION_STYLE_ASSIGNMENT(({usage}))")
    styled = file.add(f"STYLED_ITEM('color',({assignment}),{solid})")
    file.add(f"MECHANICAL_DESIGN_GEOMETRIC_PRESENTATION_REPRESENTATION('',({styled}),{context})")
