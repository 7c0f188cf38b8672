import com.google.gson.JsonObject;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import rollcall.v1.*;

/** What a retry policy makes of a gateway that dies in the middle of a bind. */
final class Retries {
    /** One gateway first and the other when that is gone, without retries. */
    static final Map<String, Object> PLAIN = Map.of("loadBalancingConfig", List.of(Map.of("pick_first", Map.of())));

    interface Login {
        String with(ManagedChannel channel, JsonObject person) throws Exception;
    }

    /** The same with the retries of the listing. */
    static Map<String, Object> retrying() throws Exception {
        var config = new HashMap<>(Calls.serviceConfig());
        config.putAll(PLAIN);
        return config;
    }

    static String killed(String who, Login login, Map<String, Object> config) throws Exception {
        var channel = Client.channel(Client.both, builder -> builder.defaultServiceConfig(config));
        var person = Client.task.getAsJsonObject(who);
        var pool = Executors.newSingleThreadExecutor();
        var told = pool.submit(() -> login.with(channel, person));
        var name = person.get("login").getAsString();
        Client.ask("kill-a-at-bind " + name);
        var result = told.get() + ", " + Client.ask("binds " + name) + " bind";
        Client.ask("start-a");
        return result;
    }

    static String withoutId(ManagedChannel channel, JsonObject person) throws Exception {
        return Client.outcome(() -> AuthServiceGrpc.newBlockingStub(channel).authenticate(request(person)));
    }

    /** Calls without a request_id, and up to three times as long as it is told that nothing was sent. */
    static String careful(ManagedChannel channel, JsonObject person) throws Exception {
        for (var call = 1; ; call++) {
            try {
                AuthServiceGrpc.newBlockingStub(channel).withDeadlineAfter(15, TimeUnit.SECONDS).authenticate(request(person));
                return "authenticated";
            } catch (StatusRuntimeException error) {
                var unavailable = error.getStatus().getCode() == io.grpc.Status.Code.UNAVAILABLE;
                if (!unavailable || Calls.reason(error).isEmpty() || call == 3) {
                    return Client.words(error) + ", " + call + " call";
                }
            }
        }
    }

    private static AuthenticateRequest request(JsonObject person) {
        return AuthenticateRequest.newBuilder()
                .setTenant(person.get("tenant").getAsString())
                .setLogin(person.get("login").getAsString())
                .setPassword(person.get("password").getAsString())
                .build();
    }
}
