// The test data of the Pod Security Standards, by version: Kubernetes' own, read by tests/contract/test_pod_security.py; nothing is built.
module setpoint.dev/tools/pod-security

go 1.24

require k8s.io/pod-security-admission v0.36.2
