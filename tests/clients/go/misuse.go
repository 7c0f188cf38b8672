package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rollcall "client/gen/rollcall/v1"
)

const unread = 1000

// raw is a request that generated code does not make.
type raw struct {
	Name, Path string
	Message    []byte
}

func (r raw) send(channel *grpc.ClientConn) string {
	var answer []byte
	if err := channel.Invoke(context.Background(), r.Path, r.Message, &answer, grpc.ForceCodec(verbatim{})); err != nil {
		return words(err)
	}
	var told rollcall.AuthenticateResponse
	check(proto.Unmarshal(answer, &told))
	return outcome(told.GetAuthenticated().GetUser(), told.GetDenial(), nil)
}

// verbatim sends bytes as they are.
type verbatim struct{}

func (verbatim) Marshal(message any) ([]byte, error) { return message.([]byte), nil }

func (verbatim) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = bytes.Clone(data)
	return nil
}

func (verbatim) Name() string { return "proto" }

// post sends a framed login without gRPC, and tells the status and the beginning of the text.
func (t *task) post(contentType string, http2 bool) string {
	pem, err := os.ReadFile(t.CaFile)
	check(err)
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(pem)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	client := http.Client{Transport: &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: ca}}}
	request, err := http.NewRequest("POST", "https://"+t.A+"/rollcall.v1.AuthService/Authenticate", bytes.NewReader(t.Framed))
	check(err)
	request.Header.Set("content-type", contentType)
	request.Header.Set("authorization", "Bearer "+t.Token)
	answer, err := client.Do(request)
	check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	check(err)
	first, _, _ := strings.Cut(string(text), ".")
	return fmt.Sprintf("%d %s", answer.StatusCode, first)
}

// unread opens streams with much to tell and reads none, while another caller goes on.
func (t *task) unread() string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	users := rollcall.NewUserServiceClient(t.connect(t.Token, []string{t.A}))
	var streams []grpc.ClientStream
	for range unread {
		// It fails where the server has refused it already.
		if stream, err := users.WatchUserEvents(ctx, &rollcall.WatchUserEventsRequest{Parent: t.Large}); err == nil {
			streams = append(streams, stream)
		}
	}
	for _, stream := range streams {
		stream.Header() // Until the server has begun it, or refused it.
	}
	other := thirty(t.connect(t.ReaderToken, []string{t.A}), t.Large)
	return other + " for another caller, " + ask("memory-a")
}
