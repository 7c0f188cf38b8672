import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.StatusOr;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.Arrays;

/** Resolves "gateways:///127.0.0.1:1,127.0.0.1:2", as DNS would resolve a name, to servers called localhost. */
final class Gateways extends NameResolverProvider {
    @Override
    public NameResolver newNameResolver(URI target, NameResolver.Args args) {
        return target.getScheme().equals("gateways") ? new Listed(target.getPath().substring(1)) : null;
    }

    @Override
    public String getDefaultScheme() {
        return "gateways";
    }

    @Override
    protected boolean isAvailable() {
        return true;
    }

    @Override
    protected int priority() {
        return 1;
    }

    private static final class Listed extends NameResolver {
        private final String addresses;

        Listed(String addresses) {
            this.addresses = addresses;
        }

        @Override
        public String getServiceAuthority() {
            return "localhost";
        }

        @Override
        public void start(Listener2 listener) {
            var groups = Arrays.stream(addresses.split(","))
                    .map(address -> address.split(":"))
                    .map(parts -> new InetSocketAddress(parts[0], Integer.parseInt(parts[1])))
                    .map(EquivalentAddressGroup::new)
                    .toList();
            listener.onResult(
                    ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(groups)).build());
        }

        @Override
        public void shutdown() {}
    }
}
