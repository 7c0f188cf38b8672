import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.NameResolverRegistry;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.http.HttpClient;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import rollcall.v1.*;

/** The client program of the suite in Java: does what it is told, and tells what it was answered. */
public final class Client {
    private static final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    private static final Gson gson = new Gson();
    static JsonObject task;
    static String a;
    static String both;

    public static void main(String[] none) throws Exception {
        NameResolverRegistry.getDefaultRegistry().register(new Gateways());
        task = gson.fromJson(input.readLine(), JsonObject.class);
        a = text("a");
        both = a + "," + text("b");
        for (var element : task.getAsJsonArray("attempts")) {
            var person = element.getAsJsonObject();
            var channel = Calls.channel("gateways:///" + a, caFile(), person.get("token").getAsString()).build();
            run("login: " + person.get("name").getAsString(), () -> attempt(channel, person));
            channel.shutdownNow();
        }
        var channel = channel(a);
        var large = text("large");
        run("the worker's service", () -> outcome(() -> {
            TenantServiceGrpc.newBlockingStub(channel).getTenant(GetTenantRequest.newBuilder().setName(text("own")).build());
            return AuthenticateResponse.getDefaultInstance();
        }));
        run("1 ms", () -> {
            var auth = AuthServiceGrpc.newBlockingStub(channel).withDeadlineAfter(1, TimeUnit.MILLISECONDS);
            return attempt(auth, task.getAsJsonObject("hurried")).split(" ")[0];
        });
        run("login", () -> attempt(
                AuthServiceGrpc.newBlockingStub(channel).withCompression("gzip"), task.getAsJsonObject("right")));
        run("list", () -> listUsers(UserServiceGrpc.newBlockingStub(channel).withCompression("gzip"), large) + " users");
        run("pages", () -> {
            var users = UserServiceGrpc.newBlockingStub(channel);
            return listUsers(users, large) + " users, " + countEvents(users, large) + " events";
        });
        var right = task.getAsJsonObject("right");
        run("20 KB of metadata", () -> attempt(Misuse.withLargeMetadata(channel), right));
        run("HTTP/1.1", () -> Misuse.post(HttpClient.Version.HTTP_1_1, "application/grpc"));
        run("gRPC-Web", () -> Misuse.post(HttpClient.Version.HTTP_2, "application/grpc-web+proto"));
        for (var element : task.getAsJsonArray("raw")) {
            var raw = element.getAsJsonObject();
            run("raw: " + raw.get("name").getAsString(), () -> outcome(() -> Misuse.send(channel, raw)));
        }
        run("events", Client::feed);
        run("expired cursor", Client::listAnew);
        run("silence", Client::silence);
        var sharing = UserServiceGrpc.newBlockingStub(channel(both));
        run("both", () -> {
            var told = thirty(sharing);
            var served = ask("calls LookupUser").split(" ");
            var fair = Integer.parseInt(served[0]) >= 5 && Integer.parseInt(served[1]) >= 5;
            return told + (fair ? ", both served" : "");
        });
        run("one killed", () -> {
            ask("kill-a");
            var told = thirty(sharing);
            ask("start-a");
            return told;
        });
        run("killed while binding", () -> Retries.killed("held", Client::attempt, Retries.retrying()));
        run("killed while binding, without a request_id", () -> Retries.killed("twice", Retries::withoutId, Retries.retrying()));
        run("killed while binding, retrying ours alone", () -> Retries.killed("careful", Retries::careful, Retries.PLAIN));
        run("directory away, retrying ours alone", () -> Retries.careful(
                channel(text("b"), builder -> builder.defaultServiceConfig(Retries.PLAIN)), task.getAsJsonObject("away")));
        System.exit(0);
    }

    private static ManagedChannel channel(String gateways) throws Exception {
        return channel(gateways, builder -> builder);
    }

    static ManagedChannel channel(String gateways, UnaryOperator<ManagedChannelBuilder<?>> more) throws Exception {
        return more.apply(Calls.channel("gateways:///" + gateways, caFile(), text("token"))).build();
    }

    static String attempt(ManagedChannel channel, JsonObject person) throws Exception {
        return attempt(AuthServiceGrpc.newBlockingStub(channel), person);
    }

    private static String attempt(AuthServiceGrpc.AuthServiceBlockingStub auth, JsonObject person) throws Exception {
        var tenant = person.get("tenant").getAsString();
        var login = person.get("login").getAsString();
        var password = person.get("password").getAsString();
        var id = person.has("request_id") ? person.get("request_id").getAsString() : "";
        if (id.isEmpty()) {
            return outcome(() -> Calls.login(auth, tenant, login, password));
        }
        return outcome(() -> auth.authenticate(AuthenticateRequest.newBuilder()
                .setTenant(tenant).setLogin(login).setPassword(password).setRequestId(id).build()));
    }

    static String outcome(Callable<AuthenticateResponse> call) throws Exception {
        try {
            var answer = call.call();
            if (!answer.hasDenial()) {
                return "AUTHENTICATED " + answer.getAuthenticated().getUser().getLogin();
            }
            var denial = answer.getDenial();
            var reason = denial.getReason().name().replace("DENIAL_REASON_", "");
            return "DENIED " + reason + (denial.hasRetryAfter() ? " retry" : "");
        } catch (StatusRuntimeException error) {
            return words(error);
        }
    }

    /** An error as the suite writes it. */
    static String words(StatusRuntimeException error) throws Exception {
        var parts = new ArrayList<>(List.of(error.getStatus().getCode().name()));
        var reason = Calls.reason(error);
        if (!reason.isEmpty()) {
            parts.add(reason);
        }
        List<String> metadata = List.of();
        for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                metadata = detail.unpack(ErrorInfo.class).getMetadataMap().entrySet().stream()
                        .map(entry -> entry.getKey() + "=" + entry.getValue()).sorted().toList();
            } else if (detail.is(BadRequest.class)) {
                parts.add(detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                        .map(BadRequest.FieldViolation::getField).sorted().collect(Collectors.joining(",", "fields=", "")));
            } else if (detail.is(RetryInfo.class)) {
                parts.add("retry");
            }
        }
        parts.addAll(metadata);
        return String.join(" ", parts);
    }

    private static int listUsers(UserServiceGrpc.UserServiceBlockingStub users, String tenant) {
        var count = 0;
        var token = "";
        do {
            var page = users.listUsers(
                    ListUsersRequest.newBuilder().setParent(tenant).setPageSize(1000).setPageToken(token).build());
            count += page.getUsersCount();
            token = page.getNextPageToken();
        } while (!token.isEmpty());
        return count;
    }

    private static int countEvents(UserServiceGrpc.UserServiceBlockingStub users, String tenant) {
        var count = 0;
        var page = ListUserEventsResponse.newBuilder().setMore(true).build();
        while (page.getMore()) {
            page = users.listUserEvents(ListUserEventsRequest.newBuilder()
                    .setParent(tenant).setPageSize(1000).setAfter(page.getNextCursor()).build());
            count += page.getEventsCount();
        }
        return count;
    }

    /** Follows in a thread of its own. */
    private static BlockingQueue<UserEvent> events(
            UserServiceGrpc.UserServiceBlockingStub users, String tenant, String cursor) {
        var events = new LinkedBlockingQueue<UserEvent>();
        var thread = new Thread(() -> {
            try {
                Calls.follow(users, tenant, cursor, (event, at) -> {
                    if (event != null) {
                        events.add(event);
                    }
                });
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        });
        thread.setDaemon(true);
        thread.start();
        return events;
    }

    /** Reads the feed from one gateway, which is killed and started, while another makes the changes. */
    private static String feed() throws Exception {
        var own = text("own");
        var users = UserServiceGrpc.newBlockingStub(channel(a));
        var writing = UserServiceGrpc.newBlockingStub(channel(text("b")));
        var first = users.listUsers(ListUsersRequest.newBuilder().setParent(own).build());
        var told = events(users, own, first.getEventCursor());
        var count = 0;
        for (var part = 0; part < 3; part++) {
            if (part == 1) {
                ask("kill-a");
            }
            for (var number = 0; number < 5; number++) {
                var user = User.newBuilder().setLogin("user" + (part * 5 + number)).setRole("user");
                writing.createUser(CreateUserRequest.newBuilder().setParent(own).setUser(user).build());
            }
            if (part == 1) {
                ask("start-a");
            }
            for (var number = 0; number < 5; number++, count++) {
                var login = told.take().getUser().getLogin();
                if (!login.equals("user" + count)) {
                    return login + " after " + count + " events";
                }
            }
        }
        return count + " events in order";
    }

    /** What a consumer does that comes back too late. */
    private static String listAnew() throws Exception {
        var archive = text("archive");
        var users = UserServiceGrpc.newBlockingStub(channel(a));
        var told = "";
        try {
            Calls.follow(users, archive, text("expired_cursor"), (event, cursor) -> {});
        } catch (StatusRuntimeException error) {
            told = words(error);
            if (!Calls.reason(error).equals("CURSOR_EXPIRED")) {
                return told;
            }
        }
        var page = users.listUsers(ListUsersRequest.newBuilder().setParent(archive).build());
        var blocked = users.blockUser(BlockUserRequest.newBuilder().setName(page.getUsers(task.get("place").getAsInt()).getName()).build());
        var events = events(users, archive, page.getEventCursor());
        var event = events.take();
        while (event.getType() != UserEventType.USER_EVENT_TYPE_BLOCKED
                || event.getUser().getRevision() != blocked.getRevision()) {
            event = events.take();
        }
        return told + ", then " + page.getUsersCount() + " users and the next event";
    }

    /** A stream whose connection carries nothing any more, and then another call. */
    private static String silence() throws Exception {
        var channel = channel(a, builder -> builder.keepAliveTime(10, TimeUnit.SECONDS).keepAliveTimeout(1, TimeUnit.SECONDS));
        var request = WatchUserEventsRequest.newBuilder().setParent(text("own")).build();
        var stream = UserServiceGrpc.newBlockingStub(channel).watchUserEvents(request);
        stream.next();
        ask("silence-a");
        try {
            while (true) {
                stream.next();
            }
        } catch (StatusRuntimeException error) {
            return words(error) + ", then " + attempt(channel, task.getAsJsonObject("right"));
        }
    }

    /** Calls at short distances, and how many of them succeeded. */
    private static String thirty(UserServiceGrpc.UserServiceBlockingStub users) throws Exception {
        var request = LookupUserRequest.newBuilder().setParent(text("large")).setIdentifier("large1").build();
        var pool = Executors.newCachedThreadPool();
        var calls = new ArrayList<Future<User>>();
        for (var number = 0; number < 30; number++) {
            calls.add(pool.submit(() -> users.lookupUser(request)));
            Thread.sleep(20);
        }
        var good = 0;
        for (var call : calls) {
            try {
                call.get();
                good++;
            } catch (java.util.concurrent.ExecutionException failed) {
                System.err.println(failed.getCause());
            }
        }
        pool.shutdown();
        return good + " of 30";
    }

    static String text(String key) {
        return task.get(key).getAsString();
    }

    static File caFile() {
        return new File(text("ca_file"));
    }

    /** Has the suite do something, and returns its answer. */
    static String ask(String what) throws Exception {
        System.out.println(gson.toJson(Map.of("ask", what)));
        return input.readLine().strip();
    }

    /** Tells how a case ended; one that fails does not keep the others from running. */
    private static void run(String name, Callable<String> answer) {
        String result;
        try {
            result = answer.call();
        } catch (Exception failure) {
            result = failure.toString();
        }
        System.out.println(gson.toJson(Map.of("case", name, "result", result)));
    }
}
