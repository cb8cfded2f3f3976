//go:build tools

// Package tools pins the OCI distribution conformance suite; tools/run-conformance builds it. Nothing of it is ever part of Setpoint.
package tools

import _ "github.com/opencontainers/distribution-spec/conformance"
