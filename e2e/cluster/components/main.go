// Command cluster holds the components of the local Kubernetes in one binary,
// so that their common packages are compiled, linked and stored once. The first
// argument names the component; the rest is that component's own command line.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// The metrics and logging formats which the upstream commands register.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

var components = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          cobraMain(apiserver.NewAPIServerCommand),
	"kube-controller-manager": cobraMain(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          cobraMain(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 cobraMain(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kube-proxy":              cobraMain(proxy.NewProxyCommand),
	"coredns":                 runDNS,
	"provisioner":             runProvisioner,
	"kubectl":                 cobraMain(kubectl.NewDefaultKubectlCommand),
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: %s COMPONENT [ARGUMENT...]\ncomponents: %s\n", os.Args[0], names())
		os.Exit(2)
	}
	run, found := components[os.Args[1]]
	if !found {
		fmt.Fprintf(os.Stderr, "unknown component %q; known: %s\n", os.Args[1], names())
		os.Exit(2)
	}
	// Each component parses os.Args itself and expects its own name first.
	os.Args = os.Args[1:]
	os.Exit(run())
}

func cobraMain(command func() *cobra.Command) func() int {
	return func() int { return cli.Run(command()) }
}

func names() string {
	names := make([]string, 0, len(components))
	for name := range components {
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
