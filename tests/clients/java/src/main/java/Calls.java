import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.Grpc;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import rollcall.v1.*;

final class Calls {
    /** The one channel of a process, for instance to "dns:///auth-gateway.example:50051". */
    static ManagedChannelBuilder<?> channel(String target, File ca, String token) throws IOException {
        var headers = new Metadata();
        headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
        return Grpc.newChannelBuilder(target, TlsChannelCredentials.newBuilder().trustManager(ca).build())
                .intercept(MetadataUtils.newAttachHeadersInterceptor(headers))
                .defaultServiceConfig(serviceConfig())
                .keepAliveTime(30, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS);
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> serviceConfig() throws IOException {
        return new Gson().fromJson(Files.readString(Path.of("service_config.json")), Map.class);
    }

    /** The answer is authenticated or a denial. An exception is neither. */
    static AuthenticateResponse login(
            AuthServiceGrpc.AuthServiceBlockingStub auth, String tenant, String login, String password) {
        return auth.authenticate(AuthenticateRequest.newBuilder()
                .setTenant(tenant)
                .setLogin(login)
                .setPassword(password)
                .setRequestId(UUID.randomUUID().toString()) // Makes the retries of the service config safe.
                .build());
    }

    /** Tells every event after the cursor, for ever; keep the cursor with what you made of the event. */
    static void follow(
            UserServiceGrpc.UserServiceBlockingStub users, String tenant, String cursor, BiConsumer<UserEvent, String> take)
            throws InterruptedException {
        while (true) {
            try {
                var request = WatchUserEventsRequest.newBuilder().setParent(tenant).setAfter(cursor).build();
                var stream = users.withWaitForReady().watchUserEvents(request);
                while (stream.hasNext()) {
                    var message = stream.next();
                    cursor = message.getCursor();
                    // There is no event when only the cursor moved.
                    take.accept(message.hasEvent() ? message.getEvent() : null, cursor);
                }
            } catch (StatusRuntimeException error) {
                var code = error.getStatus().getCode();
                if (code != Status.Code.UNAVAILABLE && code != Status.Code.DEADLINE_EXCEEDED) {
                    throw error; // CURSOR_EXPIRED: list the users anew, and follow from their event_cursor.
                }
            }
            Thread.sleep(1000);
        }
    }

    /** What a program decides by: CURSOR_EXPIRED, for instance. Empty: the client library made the status itself. */
    static String reason(StatusRuntimeException error) throws InvalidProtocolBufferException {
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getDomain().equals("rollcall")) {
                return detail.unpack(ErrorInfo.class).getReason();
            }
        }
        return "";
    }
}
