package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	provisionerName = "orlop.dev/local"
	// Informers are complete within a second; a minute means that the apiserver is gone.
	cacheSyncTimeout = time.Minute
)

// runProvisioner makes and grows volumes of type local: directories below
// DIR/NODE/volumes, where DIR is the -nodes flag. All nodes are network
// namespaces of one machine, so one process can make them for every node.
func runProvisioner() int {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the apiserver")
	nodes := flag.String("nodes", "", "directory with one subdirectory a node")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := provision(ctx, *kubeconfig, *nodes); err != nil {
		klog.ErrorS(err, "failed to provision volumes")
		return 1
	}
	return 0
}

func provision(ctx context.Context, kubeconfig, nodes string) error {
	if !filepath.IsAbs(nodes) {
		return fmt.Errorf("the -nodes directory must be absolute, got %q", nodes)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("failed to read the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("failed to make a client: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	grower, err := newGrower(client, claims, volumes, classes)
	if err != nil {
		return err
	}
	provisioner := controller.NewProvisionController(ctx, client, provisionerName,
		&directories{nodes: nodes},
		controller.ClaimsInformer(claims.Informer()),
		controller.VolumesInformer(volumes.Informer()),
		controller.ClassesInformer(classes.Informer()),
		// There is one provisioner: who would it elect?
		controller.LeaderElection(false),
	)
	factory.Start(ctx.Done())
	syncing, cancel := context.WithTimeout(ctx, cacheSyncTimeout)
	defer cancel()
	for kind, synced := range factory.WaitForCacheSync(syncing.Done()) {
		if !synced {
			return fmt.Errorf("failed to list %v within %v", kind, cacheSyncTimeout)
		}
	}
	go grower.run(ctx)
	provisioner.Run(ctx)
	return nil
}

// directories makes one directory a volume. It starts as a freshly made file
// system does, owned by root: who runs as another user sets fsGroup.
type directories struct {
	nodes string
}

func (d *directories) Provision(_ context.Context, options controller.ProvisionOptions) (
	*corev1.PersistentVolume, controller.ProvisioningState, error,
) {
	claim := options.PVC
	if claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, errors.New("local directories cannot be block volumes")
	}
	if options.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, errors.New("no node selected; the class must bind on first consumer")
	}
	path := d.path(options.SelectedNodeName, options.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("failed to make the volume: %w", err)
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity: corev1.ResourceList{
				corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage],
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: path},
			},
			NodeAffinity: onlyOn(options.SelectedNodeName),
		},
	}
	return volume, controller.ProvisioningFinished, nil
}

func (d *directories) Delete(_ context.Context, volume *corev1.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "it is not a local volume"}
	}
	// Never remove what this provisioner would not have made.
	inside, err := filepath.Match(d.path("*", volume.Name), volume.Spec.Local.Path)
	if err != nil || !inside {
		return &controller.IgnoredError{Reason: volume.Spec.Local.Path + " is not a directory of ours"}
	}
	return os.RemoveAll(volume.Spec.Local.Path)
}

func (d *directories) path(node, volume string) string {
	return filepath.Join(d.nodes, node, "volumes", volume)
}

func onlyOn(node string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{
				Key:      corev1.LabelHostname,
				Operator: corev1.NodeSelectorOpIn,
				Values:   []string{node},
			}},
		}},
	}}
}
