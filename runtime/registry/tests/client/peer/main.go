// A registry that lists referrers by itself, on go-containerregistry. With an argument it wants a token for everything,
// which it issues to the name and password of that argument.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
)

const token = "issued-for-this-test"

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	handler := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	if len(os.Args) > 1 {
		user, password, _ := strings.Cut(os.Args[1], ":")
		handler = guarded(handler, listener.Addr().String(), user, password)
	}
	log.Fatal(http.Serve(listener, handler))
}

func guarded(next http.Handler, address, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			givenUser, givenPassword, _ := r.BasicAuth()
			if givenUser != user || givenPassword != password || r.URL.Query().Get("service") != "peer" {
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
				return
			}
			for _, scope := range r.URL.Query()["scope"] {
				fmt.Fprintln(os.Stderr, scope)
			}
			fmt.Fprintf(w, `{"token":%q}`, token)
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="peer"`, address))
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
