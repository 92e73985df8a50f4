// Command netpol enforces NetworkPolicy on one node: the policy controller of
// kube-router alone, run inside the node's network namespace. It is a module of
// its own because it wants older Kubernetes libraries than the components do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// Changes are followed at once by events; this repairs rules that a person removed.
	syncPeriod = time.Minute
	// Informers are complete within a second; a minute means that the apiserver is gone.
	cacheSyncTimeout = time.Minute
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the apiserver")
	node := flag.String("node", "", "the node whose pods are guarded")
	services := flag.String("services", "", "the range of cluster IPs, as a CIDR")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := enforce(ctx, *kubeconfig, *node, *services); err != nil {
		klog.ErrorS(err, "failed to enforce network policies")
		os.Exit(1)
	}
}

func enforce(ctx context.Context, kubeconfig, node, services string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("failed to read the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("failed to make a client: %w", err)
	}
	settings := options.NewKubeRouterConfig()
	settings.EnableIPv4 = true
	settings.HostnameOverride = node
	settings.ClusterIPCIDRs = []string{services}
	settings.IPTablesSyncPeriod = syncPeriod

	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	iptables, ipsets, err := netpol.NewIPTablesHandlers(settings)
	if err != nil {
		return fmt.Errorf("failed to reach iptables and ipset: %w", err)
	}
	guard, err := netpol.NewNetworkPolicyController(
		client, settings, pods, policies, namespaces, &sync.Mutex{}, iptables, ipsets)
	if err != nil {
		return fmt.Errorf("failed to make the policy controller: %w", err)
	}
	_, podsErr := pods.AddEventHandler(guard.PodEventHandler)
	_, policiesErr := policies.AddEventHandler(guard.NetworkPolicyEventHandler)
	_, namespacesErr := namespaces.AddEventHandler(guard.NamespaceEventHandler)
	if err := errors.Join(podsErr, policiesErr, namespacesErr); err != nil {
		return fmt.Errorf("failed to watch: %w", err)
	}
	factory.Start(ctx.Done())
	syncing, cancel := context.WithTimeout(ctx, cacheSyncTimeout)
	defer cancel()
	for kind, synced := range factory.WaitForCacheSync(syncing.Done()) {
		if !synced {
			return fmt.Errorf("failed to list %v within %v", kind, cacheSyncTimeout)
		}
	}
	var running sync.WaitGroup
	running.Add(1)
	guard.Run(drained(ctx), ctx.Done(), &running)
	running.Wait()
	return nil
}

// drained is the channel on which the controller reports its heartbeats. Its
// sends block, so somebody must read them.
func drained(ctx context.Context) chan<- *healthcheck.ControllerHeartbeat {
	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for {
			select {
			case <-heartbeats:
			case <-ctx.Done():
				return
			}
		}
	}()
	return heartbeats
}
