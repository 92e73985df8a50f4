package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// Each pass makes two small writes.
const growTimeout = 30 * time.Second

// grower does for these volumes what a CSI driver's resizer does for its own: a
// claim that asks for more than it has gets it. A directory has no size of its
// own, so growth is the volume's new capacity, then the claim's.
type grower struct {
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	// Bounded by the number of claims: a key is queued once.
	queue workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

func newGrower(
	client kubernetes.Interface,
	claims coreinformers.PersistentVolumeClaimInformer,
	volumes coreinformers.PersistentVolumeInformer,
	classes storageinformers.StorageClassInformer,
) (*grower, error) {
	g := &grower{
		client:  client,
		claims:  claims.Lister(),
		volumes: volumes.Lister(),
		classes: classes.Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]()),
	}
	enqueue := func(object any) {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok {
			g.queue.Add(cache.MetaObjectToName(claim))
		}
	}
	_, err := claims.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, current any) { enqueue(current) },
	})
	if err != nil {
		return nil, fmt.Errorf("failed to watch claims: %w", err)
	}
	return g, nil
}

func (g *grower) run(ctx context.Context) {
	go func() {
		<-ctx.Done()
		g.queue.ShutDown()
	}()
	for {
		name, shutdown := g.queue.Get()
		if shutdown {
			return
		}
		if err := g.grow(ctx, name); err != nil {
			klog.ErrorS(err, "failed to grow a volume", "claim", name)
			g.queue.AddRateLimited(name)
		} else {
			g.queue.Forget(name)
		}
		g.queue.Done(name)
	}
}

func (g *grower) grow(ctx context.Context, name cache.ObjectName) error {
	ctx, cancel := context.WithTimeout(ctx, growTimeout)
	defer cancel()
	claim, err := g.claims.PersistentVolumeClaims(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to read the claim: %w", err)
	}
	wanted := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	has := claim.Status.Capacity[corev1.ResourceStorage]
	if claim.Status.Phase != corev1.ClaimBound || wanted.Cmp(has) <= 0 || !g.isOurs(claim) {
		return nil
	}
	volume, err := g.volumes.Get(claim.Spec.VolumeName)
	if err != nil {
		return fmt.Errorf("failed to read the volume: %w", err)
	}
	if volume.Spec.Capacity.Storage().Cmp(wanted) < 0 {
		patch, err := capacityPatch("spec", wanted)
		if err != nil {
			return err
		}
		_, err = g.client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name,
			types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("failed to enlarge the volume: %w", err)
		}
	}
	patch, err := capacityPatch("status", wanted)
	if err != nil {
		return err
	}
	_, err = g.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name,
		types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("failed to report the claim's new size: %w", err)
	}
	return nil
}

func (g *grower) isOurs(claim *corev1.PersistentVolumeClaim) bool {
	if claim.Spec.StorageClassName == nil {
		return false
	}
	class, err := g.classes.Get(*claim.Spec.StorageClassName)
	return err == nil && class.Provisioner == provisionerName
}

func capacityPatch(field string, size resource.Quantity) ([]byte, error) {
	return json.Marshal(map[string]any{
		field: map[string]any{"capacity": corev1.ResourceList{corev1.ResourceStorage: size}},
	})
}
