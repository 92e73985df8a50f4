{{- define "orlop.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "orlop.operator" -}}
{{ include "orlop.fullname" . }}-operator
{{- end -}}

{{- define "orlop.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "orlop.operator" .) }}
{{- end -}}

{{- define "orlop.selector" -}}
app.kubernetes.io/name: orlop-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "orlop.labels" -}}
{{ include "orlop.selector" . }}
app.kubernetes.io/part-of: orlop
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
