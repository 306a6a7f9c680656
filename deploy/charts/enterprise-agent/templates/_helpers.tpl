{{/* The name of everything: the reference's, whatever the release is called, because agents and certificates rely on it. */}}
{{- define "name" -}}
enterprise-agent
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
{{- $image := .Values.enterpriseAgent.image -}}
{{- $tag := $image.tag | default .Chart.AppVersion -}}
{{- printf "%s/%s%s%s" $image.registry $image.repository (hasPrefix "sha256:" $tag | ternary "@" ":") $tag -}}
{{- end -}}

{{/* The host part of a --…-listen flag. */}}
{{- define "listenHost" -}}
{{- eq .Values.listenHost "::" | ternary "[::]" .Values.listenHost -}}
{{- end -}}

{{/* Every account that istiod may run as, as a JSON list of {name, namespace} without doubles. */}}
{{- define "istiodAccounts" -}}
{{- $sidecar := .Values.istiodSidecar -}}
{{- $accounts := list -}}
{{- range list "istiod" "istiod-service-account" $sidecar.istiodServiceAccount.name -}}
{{- $accounts = append $accounts (dict "name" . "namespace" $sidecar.istiodServiceAccount.namespace) -}}
{{- end -}}
{{- range $sidecar.revisions -}}
{{- $accounts = append $accounts (dict "name" (printf "istiod-%s" .) "namespace" $sidecar.istiodServiceAccount.namespace) -}}
{{- end -}}
{{- concat $accounts $sidecar.istiodServiceAccounts | uniq | toJson -}}
{{- end -}}

{{/* A subject of a binding. Takes name and namespace. */}}
{{- define "accountSubject" -}}
- kind: ServiceAccount
  name: {{ .name }}
  namespace: {{ .namespace }}
{{- end -}}

{{/* The subjects of a binding for all of istiod's accounts. */}}
{{- define "istiodSubjects" -}}
{{- range include "istiodAccounts" . | fromJsonArray }}
{{ include "accountSubject" . }}
{{- end }}
{{- end -}}

{{/* A RoleBinding to the Role of the same name. Takes root, name, namespace and subjects. */}}
{{- define "roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  {{- .subjects | trim | nindent 2 }}
{{- end -}}

{{/* The beginning of a Role. Takes root, name and namespace. */}}
{{- define "role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "labels" .root | nindent 4 }}
{{- end -}}
