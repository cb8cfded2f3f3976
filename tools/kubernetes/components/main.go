// The five programs of a Kubernetes node in one binary, for the project's tests: which one it is, its name says (a link to it), or its first
// argument. One binary is linked once, and its pages are shared by the five processes.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// component returns the command of a program, or nil for a name that is none.
func component(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllers.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	}
	return nil
}

func main() {
	command := component(filepath.Base(os.Args[0]))
	if command == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		command = component(os.Args[0])
	}
	if command == nil {
		fmt.Fprintln(os.Stderr, "components: name one of kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy")
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}
