"""Fragments of a name with several types: the element fragment grammar (EXI 8.5.3).

It allows every attribute and every element of the schema, in any order, and text as it is in XML. Of all V2G names only
eMAID of ISO 15118-2 needs it, where it is signed: a value in one message, a value with an Id in another. So only
elements with attributes and text are supported here.
"""

from functools import cache
from typing import Final

from v2g.exi.bits import BitReader, ExiRefusal, put_string
from v2g.exi.declare import Element, Schema
from v2g.exi.model import Kind, QName, Simple, model_of

_UNSUPPORTED: Final = "an event that the type does not foresee, or a deviation that is not supported"


def fits(declaration: object) -> bool:
    """Return whether elements of a type consist of attributes and text, all of them strings."""
    if not (isinstance(declaration, type) and issubclass(declaration, Element)):
        return False
    model = model_of(declaration)
    events = [event for particle in model.particles for event in particle.events]
    return model.content is None and all(
        event.kind is not Kind.ELEMENT and isinstance(event.type, Simple) and event.type.kind == "string"
        for event in events
    )


class RelaxedPlan:
    """Decoder and encoder of elements of one type in the element fragment grammar of a schema."""

    def __init__(self, declaration: type[Element], schema: Schema, elements: int) -> None:
        """`elements` is the number of element names of the schema and its imports."""
        self.type: Final = declaration
        names = attribute_names(schema)
        particles = model_of(declaration).particles
        self._attributes: Final = {
            names.index(each.events[0].qname): (each.events[0].field, _text(each.events[0].type), each.least)
            for each in particles
            if each.events[0].kind is Kind.ATTRIBUTE
        }
        text = next(each.events[0] for each in particles if each.events[0].kind is Kind.TEXT)
        self._field, self._text = text.field, _text(text.type)
        # In this order: the attributes and AT(*), at the start only; the elements and SE(*), the end, text.
        self._before: Final = len(names) + 1
        self._content: Final = elements + 3

    def decode(self, reader: BitReader) -> Element:
        """Read an element after its start."""
        fields: dict[str, object] = {each: None for each, _, least in self._attributes.values() if not least}
        before, last = self._before, -1
        while True:
            code = reader.take((before + self._content).bit_length())
            if code < before:
                if code not in self._attributes or code <= last:
                    raise ExiRefusal(_UNSUPPORTED)
                field, simple, _ = self._attributes[code]
                fields[field] = reader.string(simple.shortest, simple.longest)
                last = code
            elif code - before == self._content - 2:
                if self._field not in fields and not self._text.shortest:
                    fields[self._field] = ""
                if len(fields) < len(self.type.__struct_fields__):
                    raise ExiRefusal(f"an element that is not {self.type.__name__}, the structure of this name")
                return self.type(**fields)
            elif code - before == self._content - 1 and self._field not in fields:
                fields[self._field] = reader.string(self._text.shortest, self._text.longest)
                before = 0
            else:
                raise ExiRefusal(_UNSUPPORTED)

    def encode(self, acc: int, element: object) -> int:
        """Append an element after its start."""
        if element.__class__ is not self.type:
            raise ExiRefusal(f"{type(element).__name__} where {self.type.__name__} is declared")
        width = (self._before + self._content).bit_length()
        for code, (field, simple, least) in sorted(self._attributes.items()):
            value = getattr(element, field)
            if value is not None or least:
                acc = put_string(acc << width | code, value, simple.longest, simple.shortest)
        value = getattr(element, self._field)
        acc = acc << width | self._before + self._content - 1
        acc = put_string(acc, value, self._text.longest, self._text.shortest)
        return acc << self._content.bit_length() | self._content - 2


def _text(declared: object) -> Simple:
    assert isinstance(declared, Simple)
    return declared


@cache
def attribute_names(schema: Schema) -> list[QName]:
    """Return the names of all attributes of a schema and its imports, sorted."""
    return sorted(
        {
            particle.events[0].qname
            for each in schema.closure()
            for declaration in each.types()
            for particle in model_of(declaration).particles
            if particle.events[0].kind is Kind.ATTRIBUTE
        }
    )
