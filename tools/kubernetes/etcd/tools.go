//go:build tools

// Package tools pins the store behind the test cluster's API server.
package tools

import _ "go.etcd.io/etcd/server/v3"
