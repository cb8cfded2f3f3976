//go:build tools

// Package tools pins the stock client that checks Setpoint's bundles.
package tools

import _ "github.com/sigstore/cosign/v3/cmd/cosign"
