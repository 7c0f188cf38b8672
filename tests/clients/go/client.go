// The client program of the suite in Go: does what it is told, and tells what it was answered.
package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	rollcall "client/gen/rollcall/v1"
)

type person struct {
	Name, Token, Tenant, Login, Password string
	RequestID                            string `json:"request_id"`
}

type task struct {
	A, B, Token, Own, Large, Archive           string
	CaFile                                     string `json:"ca_file"`
	ReaderToken                                string `json:"reader_token"`
	ExpiredCursor                              string `json:"expired_cursor"`
	Place                                      int
	Attempts                                   []person
	Raw                                        []raw
	Framed                                     []byte
	Right, Hurried, Held, Twice, Careful, Away person
}

var input = bufio.NewReaderSize(os.Stdin, 1<<20)

func main() {
	var t task
	line, err := input.ReadBytes('\n')
	check(err)
	check(json.Unmarshal(line, &t))
	for _, attempt := range t.Attempts {
		run("login: "+attempt.Name, func() string { return login(t.connect(attempt.Token, []string{t.A}), attempt) })
	}
	channel := t.connect(t.Token, []string{t.A})
	run("the worker's service", func() string {
		_, err := rollcall.NewTenantServiceClient(channel).GetTenant(context.Background(), &rollcall.GetTenantRequest{Name: t.Own})
		return words(err)
	})
	run("1 ms", func() string { return hurried(channel, t.Hurried) })
	compressing := t.connect(t.Token, []string{t.A}, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	run("login", func() string { return login(compressing, t.Right) })
	run("list", func() string { return fmt.Sprintf("%d users", len(list(compressing, t.Large))) })
	run("pages", func() string {
		return fmt.Sprintf("%d users, %d events", len(list(channel, t.Large)), events(channel, t.Large))
	})
	run("20 KB of metadata", func() string {
		ctx := metadata.AppendToOutgoingContext(context.Background(), "x-large", strings.Repeat("x", 20_000))
		_, _, err := Login(ctx, rollcall.NewAuthServiceClient(channel), t.Right.Tenant, t.Right.Login, t.Right.Password)
		return words(err)
	})
	run("HTTP/1.1", func() string { return t.post("application/grpc", false) })
	run("gRPC-Web", func() string { return t.post("application/grpc-web+proto", true) })
	for _, message := range t.Raw {
		run("raw: "+message.Name, func() string { return message.send(channel) })
	}
	run("events", func() string {
		return follow(t.connect(t.Token, []string{t.A}), t.connect(t.Token, []string{t.B}), t.Own)
	})
	run("expired cursor", func() string { return listAnew(channel, t.Archive, t.ExpiredCursor, t.Place) })
	run("silence", t.silence)
	sharing := t.connect(t.Token, []string{t.A, t.B})
	run("both", func() string {
		all := thirty(sharing, t.Large)
		var a, b int
		fmt.Sscan(ask("calls LookupUser"), &a, &b)
		if a >= 5 && b >= 5 {
			all += ", both served"
		}
		return all
	})
	run("one killed", func() string {
		ask("kill-a")
		defer ask("start-a")
		return thirty(sharing, t.Large)
	})
	run("streams", t.unread)
	run("killed while binding", func() string {
		return t.killed(t.Held, func(channel *grpc.ClientConn) string { return login(channel, t.Held) }, retrying)
	})
	run("killed while binding, without a request_id", func() string {
		return t.killed(t.Twice, func(channel *grpc.ClientConn) string { return withoutID(channel, t.Twice) }, retrying)
	})
	run("killed while binding, retrying ours alone", func() string {
		return t.killed(t.Careful, func(channel *grpc.ClientConn) string { return careful(channel, t.Careful) }, plain)
	})
	run("directory away, retrying ours alone", func() string {
		return careful(t.connect(t.Token, []string{t.B}, grpc.WithDefaultServiceConfig(plain)), t.Away)
	})
}

// run tells how a case ended; one that fails does not keep the others from running.
func run(name string, do func() string) {
	defer func() {
		if failure := recover(); failure != nil {
			tell(name, fmt.Sprint(failure))
		}
	}()
	tell(name, do())
}

// connect opens a channel to these gateways.
func (t *task) connect(token string, addresses []string, more ...grpc.DialOption) *grpc.ClientConn {
	pem, err := os.ReadFile(t.CaFile)
	check(err)
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(pem)
	gateways := manual.NewBuilderWithScheme("gateways")
	var state resolver.State
	for _, address := range addresses {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}})
	}
	gateways.InitialState(state)
	channel, err := Connect("gateways:///localhost", ca, token, append(more, grpc.WithResolvers(gateways))...)
	check(err)
	return channel
}

func login(channel *grpc.ClientConn, person person) string {
	auth := rollcall.NewAuthServiceClient(channel)
	if person.RequestID == "" {
		user, denial, err := Login(context.Background(), auth, person.Tenant, person.Login, person.Password)
		return outcome(user, denial, err)
	}
	answer, err := auth.Authenticate(context.Background(), &rollcall.AuthenticateRequest{
		Tenant: person.Tenant, Login: person.Login, Password: person.Password, RequestId: person.RequestID,
	})
	return outcome(answer.GetAuthenticated().GetUser(), answer.GetDenial(), err)
}

func outcome(user *rollcall.User, denial *rollcall.Denial, err error) string {
	switch {
	case err != nil:
		return words(err)
	case denial != nil && denial.RetryAfter != nil:
		return "DENIED " + strings.TrimPrefix(denial.Reason.String(), "DENIAL_REASON_") + " retry"
	case denial != nil:
		return "DENIED " + strings.TrimPrefix(denial.Reason.String(), "DENIAL_REASON_")
	}
	return "AUTHENTICATED " + user.GetLogin()
}

// words tells an error as the suite writes it.
func words(err error) string {
	told := status.Convert(err)
	parts := []string{code.Code(told.Code()).String()}
	if reason := Reason(err); reason != "" {
		parts = append(parts, reason)
	}
	var metadata, fields []string
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			for key, value := range detail.Metadata {
				metadata = append(metadata, key+"="+value)
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fields = append(fields, violation.Field)
			}
		case *errdetails.RetryInfo:
			parts = append(parts, "retry")
		}
	}
	slices.Sort(metadata)
	slices.Sort(fields)
	if fields != nil {
		parts = append(parts, "fields="+strings.Join(fields, ","))
	}
	return strings.Join(append(parts, metadata...), " ")
}

func hurried(channel *grpc.ClientConn, person person) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err := Login(ctx, rollcall.NewAuthServiceClient(channel), person.Tenant, person.Login, person.Password)
	return strings.Fields(words(err))[0]
}

func list(channel *grpc.ClientConn, tenant string) []*rollcall.User {
	var all []*rollcall.User
	for token := ""; ; {
		page, err := rollcall.NewUserServiceClient(channel).ListUsers(context.Background(),
			&rollcall.ListUsersRequest{Parent: tenant, PageSize: 1000, PageToken: token})
		check(err)
		all = append(all, page.Users...)
		if token = page.NextPageToken; token == "" {
			return all
		}
	}
}

func events(channel *grpc.ClientConn, tenant string) int {
	count := 0
	for cursor := ""; ; {
		page, err := rollcall.NewUserServiceClient(channel).ListUserEvents(context.Background(),
			&rollcall.ListUserEventsRequest{Parent: tenant, PageSize: 1000, After: cursor})
		check(err)
		count += len(page.Events)
		if cursor = page.NextCursor; !page.More {
			return count
		}
	}
}

// follow reads the feed from one gateway, which is killed and started, while another makes the changes.
func follow(watching, writing *grpc.ClientConn, tenant string) string {
	users := rollcall.NewUserServiceClient(watching)
	first, err := users.ListUsers(context.Background(), &rollcall.ListUsersRequest{Parent: tenant})
	check(err)
	logins := make(chan string)
	go func() {
		check(Follow(context.Background(), users, tenant, first.EventCursor, func(event *rollcall.UserEvent, _ string) {
			if event != nil {
				logins <- event.User.Login
			}
		}))
	}()
	count := 0
	for part := range 3 {
		if part == 1 {
			ask("kill-a")
		}
		for number := range 5 {
			_, err := rollcall.NewUserServiceClient(writing).CreateUser(context.Background(), &rollcall.CreateUserRequest{
				Parent: tenant, User: &rollcall.User{Login: fmt.Sprintf("user%d", part*5+number), Role: "user"},
			})
			check(err)
		}
		if part == 1 {
			ask("start-a")
		}
		for range 5 {
			if login := <-logins; login != fmt.Sprintf("user%d", count) {
				return fmt.Sprintf("%s after %d events", login, count)
			}
			count++
		}
	}
	return fmt.Sprintf("%d events in order", count)
}

// listAnew does what a consumer does that comes back too late.
func listAnew(channel *grpc.ClientConn, tenant, cursor string, place int) string {
	users := rollcall.NewUserServiceClient(channel)
	none := func(*rollcall.UserEvent, string) {}
	expired := Follow(context.Background(), users, tenant, cursor, none)
	if Reason(expired) != "CURSOR_EXPIRED" {
		return words(expired)
	}
	page, err := users.ListUsers(context.Background(), &rollcall.ListUsersRequest{Parent: tenant})
	check(err)
	user, err := users.BlockUser(context.Background(), &rollcall.BlockUserRequest{Name: page.Users[place].Name})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	next := ""
	Follow(ctx, users, tenant, page.EventCursor, func(event *rollcall.UserEvent, _ string) {
		if event != nil && event.Type == rollcall.UserEventType_USER_EVENT_TYPE_BLOCKED && event.User.Revision == user.Revision {
			next = "the next event"
			cancel()
		}
	})
	return fmt.Sprintf("%s, then %d users and %s", words(expired), len(page.Users), next)
}

// silence looks at a stream whose connection carries nothing any more, and then calls again.
func (t *task) silence() string {
	channel := t.connect(t.Token, []string{t.A}, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second}))
	stream, err := rollcall.NewUserServiceClient(channel).WatchUserEvents(context.Background(), &rollcall.WatchUserEventsRequest{Parent: t.Own})
	check(err)
	_, err = stream.Recv()
	check(err)
	ask("silence-a")
	for err == nil {
		_, err = stream.Recv()
	}
	return words(err) + ", then " + login(channel, t.Right)
}

// thirty calls at short distances, and how many of them succeeded.
func thirty(channel *grpc.ClientConn, tenant string) string {
	users := rollcall.NewUserServiceClient(channel)
	good := make(chan bool, 30)
	for range 30 {
		go func() {
			_, err := users.LookupUser(context.Background(), &rollcall.LookupUserRequest{Parent: tenant, Identifier: "large1"})
			good <- err == nil
		}()
		time.Sleep(20 * time.Millisecond)
	}
	count := 0
	for range 30 {
		if <-good {
			count++
		}
	}
	return fmt.Sprintf("%d of 30", count)
}

func tell(name, result string) {
	line, err := json.Marshal(map[string]string{"case": name, "result": result})
	check(err)
	fmt.Println(string(line))
}

// ask has the suite do something, and returns its answer.
func ask(what string) string {
	line, err := json.Marshal(map[string]string{"ask": what})
	check(err)
	fmt.Println(string(line))
	answer, err := input.ReadString('\n')
	check(err)
	return strings.TrimSpace(answer)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
