// Drives an EXI processor that is not ours: XML in, hexadecimal EXI out, and back, one instance per line.
// Run as: java -cp EXICodec.jar PeerCodec.java <schema file> <document|fragment>

import com.siemens.ct.exi.core.EXIFactory;
import com.siemens.ct.exi.core.FidelityOptions;
import com.siemens.ct.exi.core.helpers.DefaultEXIFactory;
import com.siemens.ct.exi.grammars.GrammarFactory;
import com.siemens.ct.exi.main.api.sax.EXIResult;
import com.siemens.ct.exi.main.api.sax.EXISource;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import javax.xml.parsers.SAXParserFactory;
import javax.xml.transform.Transformer;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.stream.StreamResult;
import org.xml.sax.InputSource;
import org.xml.sax.XMLReader;

public class PeerCodec {
    public static void main(String[] arguments) throws Exception {
        EXIFactory factory = DefaultEXIFactory.newInstance();
        factory.setFidelityOptions(FidelityOptions.createDefault());
        factory.setGrammars(GrammarFactory.newInstance().createGrammars(arguments[0]));
        factory.setFragment(arguments[1].equals("fragment"));
        factory.setValuePartitionCapacity(0);
        factory.setValueMaxLength(0);
        factory.setMaximumNumberOfBuiltInElementGrammars(0);
        factory.setMaximumNumberOfBuiltInProductions(0);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                out.println(line.startsWith("<") ? encode(factory, line) : decode(factory, line));
            } catch (Exception error) {
                out.println("error: " + error);
            }
        }
    }

    private static String encode(EXIFactory factory, String xml) throws Exception {
        ByteArrayOutputStream stream = new ByteArrayOutputStream();
        EXIResult result = new EXIResult(factory);
        result.setOutputStream(stream);
        SAXParserFactory parsers = SAXParserFactory.newInstance();
        parsers.setNamespaceAware(true);
        XMLReader reader = parsers.newSAXParser().getXMLReader();
        reader.setContentHandler(result.getHandler());
        reader.parse(new InputSource(new StringReader(xml)));
        return HexFormat.of().formatHex(stream.toByteArray());
    }

    private static String decode(EXIFactory factory, String hex) throws Exception {
        EXISource source = new EXISource(factory);
        source.setInputSource(new InputSource(new ByteArrayInputStream(HexFormat.of().parseHex(hex))));
        Transformer transformer = TransformerFactory.newInstance().newTransformer();
        transformer.setOutputProperty("omit-xml-declaration", "yes");
        StringWriter text = new StringWriter();
        transformer.transform(source, new StreamResult(text));
        return text.toString();
    }
}
