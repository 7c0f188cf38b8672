package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rollcall "client/gen/rollcall/v1"
)

// One gateway first and the other when that is gone: without retries, and with those of the listing.
const plain = `{"loadBalancingConfig":[{"pick_first":{}}]}`

var retrying = plain[:len(plain)-1] + serviceConfig[strings.Index(serviceConfig, "],")+1:]

// killed loses the gateway in the middle of a bind. Retries go to the other.
func (t *task) killed(person person, login func(*grpc.ClientConn) string, serviceConfig string) string {
	defer ask("start-a")
	channel := t.connect(t.Token, []string{t.A, t.B}, grpc.WithDefaultServiceConfig(serviceConfig))
	told := make(chan string)
	go func() { told <- login(channel) }()
	ask("kill-a-at-bind " + person.Login)
	return <-told + ", " + ask("binds "+person.Login) + " bind"
}

func withoutID(channel *grpc.ClientConn, person person) string {
	answer, err := rollcall.NewAuthServiceClient(channel).Authenticate(context.Background(), &rollcall.AuthenticateRequest{
		Tenant: person.Tenant, Login: person.Login, Password: person.Password,
	})
	return outcome(answer.GetAuthenticated().GetUser(), answer.GetDenial(), err)
}

// careful calls without a request_id, and up to three times as long as it is told that nothing was sent.
func careful(channel *grpc.ClientConn, person person) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for call := 1; ; call++ {
		answer, err := rollcall.NewAuthServiceClient(channel).Authenticate(ctx, &rollcall.AuthenticateRequest{
			Tenant: person.Tenant, Login: person.Login, Password: person.Password,
		})
		if status.Code(err) != codes.Unavailable || Reason(err) == "" || call == 3 {
			return fmt.Sprintf("%s, %d call", outcome(answer.GetAuthenticated().GetUser(), answer.GetDenial(), err), call)
		}
	}
}
