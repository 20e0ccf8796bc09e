"""Runs apart from this project, with py4j at hand: lets the EXI processor in EXICodec.jar write and read streams.

Arguments: the jar. Takes one JSON line per question, {"schema": file, "fragment": bool, "xml": text} or the same with
"exi" in hexadecimal, and answers each with {"exi"}, {"xml"} or {"error"}.
"""

import json
import sys
from typing import Any

from py4j.java_gateway import JavaGateway
from py4j.protocol import Py4JJavaError

OPTIONS = (
    ("setValuePartitionCapacity", 0),
    ("setValueMaxLength", 0),
    ("setMaximumNumberOfBuiltInElementGrammars", 0),
    ("setMaximumNumberOfBuiltInProductions", 0),
)
"""The options of V2G, which no stream names."""


class Peer:
    """The processor with the grammars that it has made so far."""

    def __init__(self, jar: str) -> None:
        options = ["--add-opens", "java.base/java.lang=ALL-UNNAMED", "-Xmx512m", "-XX:+UseSerialGC"]
        self._java = JavaGateway.launch_gateway(classpath=jar, die_on_exit=True, javaopts=options).jvm
        self._factories: dict[tuple[str, bool], Any] = {}
        self._grammars: dict[str, Any] = {}
        parsers = self._java.javax.xml.parsers.SAXParserFactory.newInstance()
        parsers.setNamespaceAware(True)
        self._reader = parsers.newSAXParser().getXMLReader()
        self._transformer = self._java.javax.xml.transform.TransformerFactory.newInstance().newTransformer()
        self._transformer.setOutputProperty("omit-xml-declaration", "yes")

    def _factory(self, schema: str, fragment: bool) -> Any:
        """Return what makes encoders and decoders for a schema file."""
        if (schema, fragment) not in self._factories:
            exi = self._java.com.siemens.ct.exi
            if schema not in self._grammars:
                self._grammars[schema] = exi.grammars.GrammarFactory.newInstance().createGrammars(schema)
            factory = exi.core.helpers.DefaultEXIFactory.newInstance()
            factory.setFidelityOptions(exi.core.FidelityOptions.createDefault())
            factory.setGrammars(self._grammars[schema])
            factory.setFragment(fragment)
            for name, value in OPTIONS:
                getattr(factory, name)(value)
            self._factories[schema, fragment] = factory
        return self._factories[schema, fragment]

    def encode(self, schema: str, fragment: bool, xml: str) -> str:
        stream = self._java.java.io.ByteArrayOutputStream()
        result = self._java.com.siemens.ct.exi.main.api.sax.EXIResult(self._factory(schema, fragment))
        result.setOutputStream(stream)
        self._reader.setContentHandler(result.getHandler())
        self._reader.parse(self._java.org.xml.sax.InputSource(self._java.java.io.StringReader(xml)))
        return bytes(stream.toByteArray()).hex()

    def decode(self, schema: str, fragment: bool, octets: bytes) -> str:
        source = self._java.com.siemens.ct.exi.main.api.sax.EXISource(self._factory(schema, fragment))
        source.setInputSource(self._java.org.xml.sax.InputSource(self._java.java.io.ByteArrayInputStream(octets)))
        text = self._java.java.io.StringWriter()
        self._transformer.transform(source, self._java.javax.xml.transform.stream.StreamResult(text))
        return str(text.toString())

    def answer(self, question: Any) -> dict[str, str]:
        try:
            if "xml" in question:
                return {"exi": self.encode(question["schema"], question["fragment"], question["xml"])}
            octets = bytes.fromhex(question["exi"])
            return {"xml": self.decode(question["schema"], question["fragment"], octets)}
        except Py4JJavaError as error:
            return {"error": str(error.java_exception)}


def main() -> None:
    peer = Peer(sys.argv[1])
    for line in sys.stdin:
        sys.stdout.write(json.dumps(peer.answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
