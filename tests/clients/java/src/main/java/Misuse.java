import com.google.gson.JsonObject;
import io.grpc.CallOptions;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Base64;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import rollcall.v1.*;

/** What no client should do. */
final class Misuse {
    private static final String AUTHENTICATE = "/rollcall.v1.AuthService/Authenticate";

    static AuthServiceGrpc.AuthServiceBlockingStub withLargeMetadata(ManagedChannel channel) {
        var headers = new Metadata();
        headers.put(Metadata.Key.of("x-large", Metadata.ASCII_STRING_MARSHALLER), "x".repeat(20_000));
        return AuthServiceGrpc.newBlockingStub(
                ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers)));
    }

    /** A request that generated code does not make. */
    static AuthenticateResponse send(ManagedChannel channel, JsonObject raw) {
        var method = MethodDescriptor.<byte[], AuthenticateResponse>newBuilder()
                .setType(MethodDescriptor.MethodType.UNARY)
                .setFullMethodName(raw.get("path").getAsString().substring(1))
                .setRequestMarshaller(new Verbatim())
                .setResponseMarshaller(ProtoUtils.marshaller(AuthenticateResponse.getDefaultInstance()))
                .build();
        var message = Base64.getDecoder().decode(raw.get("message").getAsString());
        return ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, message);
    }

    /** Sends a framed login without gRPC, and tells the status and the beginning of the text. */
    static String post(HttpClient.Version version, String contentType) throws Exception {
        var client = HttpClient.newBuilder().version(version).sslContext(trusting()).build();
        var framed = Base64.getDecoder().decode(Client.text("framed"));
        var request = HttpRequest.newBuilder(URI.create("https://" + Client.a + AUTHENTICATE))
                .header("content-type", contentType)
                .header("authorization", "Bearer " + Client.text("token"))
                .POST(HttpRequest.BodyPublishers.ofByteArray(framed))
                .build();
        var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        return answer.statusCode() + " " + answer.body().split("\\.")[0];
    }

    private static SSLContext trusting() throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var pem = Files.newInputStream(Client.caFile().toPath())) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    private static final class Verbatim implements MethodDescriptor.Marshaller<byte[]> {
        @Override
        public InputStream stream(byte[] bytes) {
            return new ByteArrayInputStream(bytes);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }
}
