{{/* The name of everything: the reference's, whatever the release is called, because agents and certificates rely on it. */}}
{{- define "name" -}}
enterprise-networking
{{- end -}}

{{- define "selectorLabels" -}}
app: {{ include "name" . }}
app.kubernetes.io/name: {{ include "name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "labels" -}}
{{ include "selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: mesh-relay
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* registry/repository:tag, or @ where the tag is a digest. */}}
{{- define "image" -}}
{{- $image := .Values.enterpriseNetworking.image -}}
{{- $tag := $image.tag | default .Chart.AppVersion -}}
{{- printf "%s/%s%s%s" $image.registry $image.repository (hasPrefix "sha256:" $tag | ternary "@" ":") $tag -}}
{{- end -}}

{{/* The host part of a --…-listen flag. */}}
{{- define "listenHost" -}}
{{- eq .Values.listenHost "::" | ternary "[::]" .Values.listenHost -}}
{{- end -}}
