{{- /* Who a process is: nobody in particular. */ -}}
{{- define "joulegate.user" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* What a container may do to the node: nothing. */ -}}
{{- define "joulegate.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* The address of the database, with its password: from the secret alone. */ -}}
{{- define "joulegate.database" -}}
name: JOULEGATE_DATABASE
valueFrom: {secretKeyRef: {name: {{ .Values.api.secret }}, key: database}}
{{- end }}

{{- /* Of what lets waiting work go once everything else of the release is gone; the argument is its place in the order. */ -}}
{{- define "joulegate.leaving" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
