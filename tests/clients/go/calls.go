package main

import (
	"context"
	"crypto/x509"
	_ "embed"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	rollcall "client/gen/rollcall/v1"
)

//go:embed service_config.json
var serviceConfig string

// Connect opens the one channel of a process, for instance to "dns:///auth-gateway.example:50051".
func Connect(target string, ca *x509.CertPool, token string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(ca, "")),
		grpc.WithPerRPCCredentials(bearer(token)),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}, more...)...)
}

// Login returns the user whose password is right, or why there is none. An error is neither.
func Login(ctx context.Context, auth rollcall.AuthServiceClient, tenant, login, password string) (*rollcall.User, *rollcall.Denial, error) {
	answer, err := auth.Authenticate(ctx, &rollcall.AuthenticateRequest{
		Tenant: tenant, Login: login, Password: password,
		RequestId: uuid.NewString(), // Makes the retries of the service config safe.
	})
	return answer.GetAuthenticated().GetUser(), answer.GetDenial(), err
}

// Follow tells every event after the cursor, for ever; keep the cursor with what you made of the event.
func Follow(ctx context.Context, users rollcall.UserServiceClient, tenant, cursor string, take func(*rollcall.UserEvent, string)) error {
	for {
		stream, err := users.WatchUserEvents(ctx, &rollcall.WatchUserEventsRequest{Parent: tenant, After: cursor}, grpc.WaitForReady(true))
		for err == nil {
			var message *rollcall.WatchUserEventsResponse
			if message, err = stream.Recv(); err == nil {
				cursor = message.Cursor
				take(message.Event, cursor) // The event is nil when only the cursor moved.
			}
		}
		if code := status.Code(err); ctx.Err() != nil || (code != codes.Unavailable && code != codes.DeadlineExceeded) {
			return err // CURSOR_EXPIRED: list the users anew, and follow from their event_cursor.
		}
		time.Sleep(time.Second)
	}
}

// Reason is what a program decides by: CURSOR_EXPIRED, for instance. Empty: the client library made the status itself.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "rollcall" {
			return info.Reason
		}
	}
	return ""
}

type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }
