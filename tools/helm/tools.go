//go:build tools

// Package tools pins the stock Helm that renders charts in the tests.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
