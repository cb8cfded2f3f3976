//go:build tools

// Package tools pins the stock client that reads Setpoint's registry.
package tools

import _ "oras.land/oras/cmd/oras"
