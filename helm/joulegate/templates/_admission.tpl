{{- /* CEL over the container lists of one pod spec, which stands at the path that is given. */ -}}
{{- define "joulegate.asks" -}}
{{- $pod := . -}}
(has({{ $pod }}.resourceClaims) && size({{ $pod }}.resourceClaims) > 0)
{{- range $list := list "containers" "initContainers" -}}
{{- range $part := list "limits" "requests" }} || (has({{ $pod }}.{{ $list }}) && {{ $pod }}.{{ $list }}.exists(c, has(c.resources) && has(c.resources.{{ $part }}) && c.resources.{{ $part }}.exists(k, k.matches('^(nvidia[.]com/(gpu|mig-)|amd[.]com/gpu|google[.]com/tpu|gpu[.]intel[.]com/|habana[.]ai/|aws[.]amazon[.]com/neuron)'))))
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Whether metadata, which stand at the path that is given, name a budget. */ -}}
{{- define "joulegate.chooses" -}}
(has({{ . }}.annotations) && 'joulegate.io/budget' in {{ . }}.annotations)
{{- end }}

{{- /* Whether a controller of the list made the object for an owner that is no generator. */ -}}
{{- define "joulegate.child" -}}
request.userInfo.username in {{ .Values.admission.controllers | toJson }} && has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, has(o.controller) && o.controller && !(o.kind in ['CronJob', 'CronWorkflow', 'ScheduledWorkflow', 'Experiment']))
{{- end }}

{{- /* What every entry leaves out before anybody is called. */ -}}
{{- define "joulegate.conditions" -}}
- name: changes-what-is-asked-for
  expression: >-
    request.operation != 'UPDATE' || (!has(object.metadata.deletionTimestamp) && (
    has(object.spec) != has(oldObject.spec) || (has(object.spec) && object.spec != oldObject.spec) ||
    ['joulegate.io/budget', 'joulegate.io/gate', 'serving.kserve.io/stop', 'kubeflow-resource-stopped'].exists(a,
    (has(object.metadata.annotations) && a in object.metadata.annotations ? object.metadata.annotations[a] : '') !=
    (has(oldObject.metadata.annotations) && a in oldObject.metadata.annotations ? oldObject.metadata.annotations[a] : ''))))
{{- /* Kinds that refer elsewhere, and Scale, are always sent: what they ask for is not in them. */}}
- name: asks-for-accelerators
  expression: >-
    (has(request.subResource) && request.subResource == 'scale') ||
    (request.kind.kind == 'Pod' ? ({{ include "joulegate.asks" "object.spec" }}) :
    request.kind.kind in ['Job', 'ReplicaSet', 'Deployment', 'StatefulSet', 'DaemonSet'] ?
    ({{ include "joulegate.asks" "object.spec.template.spec" }}) :
    request.kind.kind == 'JobSet' ? (has(object.spec.replicatedJobs) && object.spec.replicatedJobs.exists(j,
    {{ include "joulegate.asks" "j.template.spec.template.spec" }})) :
    {{- /* A generator holds nothing; it is sent where it chooses a budget for what it makes. */}}
    request.kind.kind == 'CronJob' ? ({{ include "joulegate.chooses" "object.metadata" }} ||
    (has(object.spec.jobTemplate.metadata) && {{ include "joulegate.chooses" "object.spec.jobTemplate.metadata" }}) ||
    (has(object.spec.jobTemplate.spec.template.metadata) &&
    {{ include "joulegate.chooses" "object.spec.jobTemplate.spec.template.metadata" }})) : true)
{{- end }}

{{- /* The objects that can ask for accelerators; kinds of the second stage are undecidable, and are asked about too. */ -}}
{{- define "joulegate.rules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [batch]
  apiVersions: [v1]
  resources: [jobs, cronjobs]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [apps]
  apiVersions: [v1]
  resources: [deployments, replicasets, statefulsets, daemonsets, deployments/scale, replicasets/scale, statefulsets/scale]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [jobset.x-k8s.io]
  apiVersions: [v1alpha2]
  resources: [jobsets]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [trainer.kubeflow.org]
  apiVersions: [v1alpha1]
  resources: [trainjobs]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [serving.kserve.io]
  apiVersions: [v1beta1, v1alpha2]
  resources: [inferenceservices, llminferenceservices]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [argoproj.io]
  apiVersions: [v1alpha1]
  resources: [workflows]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [kubeflow.org]
  apiVersions: [v1, v1beta1, v2beta1]
  resources: [pytorchjobs, tfjobs, xgboostjobs, paddlejobs, jaxjobs, mpijobs, notebooks, workspaces, trials]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [ray.io]
  apiVersions: [v1]
  resources: [rayjobs, rayclusters, rayservices]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [leaderworkerset.x-k8s.io]
  apiVersions: [v1]
  resources: [leaderworkersets, leaderworkersets/scale]
  operations: [CREATE, UPDATE]
  scope: Namespaced
{{- end }}

{{- /* Where the API server calls, under a path of admission. */ -}}
{{- define "joulegate.clientConfig" -}}
{{- with .root.Values.admission.url }}
url: {{ printf "%s/v1/admission/%s" (trimSuffix "/" .) $.path | quote }}
{{- else }}
service:
  name: {{ .root.Values.admission.service.name }}
  namespace: {{ .root.Values.admission.service.namespace | default .root.Release.Namespace }}
  port: {{ .root.Values.admission.service.port }}
  path: /v1/admission/{{ .path }}
{{- end }}
{{- with .root.Values.admission.caBundle }}
caBundle: {{ . }}
{{- end }}
{{- end }}

{{- /* The namespaces that are never selected. */ -}}
{{- define "joulegate.governed" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{ append .Values.admission.systemNamespaces .Release.Namespace | uniq | toJson }}
{{- end }}

{{- /* One entry: its name, what becomes of an object when nobody answers, whether it takes children, its selector. */ -}}
{{- define "joulegate.entry" -}}
- name: {{ .name }}.joulegate.io
  admissionReviewVersions: [v1]
  sideEffects: NoneOnDryRun
  timeoutSeconds: {{ .root.Values.admission.timeoutSeconds }}
  failurePolicy: {{ .failurePolicy }}
  clientConfig: {{- include "joulegate.clientConfig" (dict "root" .root "path" "validate") | nindent 4 }}
  namespaceSelector:
    matchExpressions:
      {{- include "joulegate.governed" .root | nindent 6 }}
      {{- with .label }}
      - key: joulegate.io/when-undecidable
        operator: {{ . }}
        values: [deny]
      {{- end }}
  matchConditions:
    - name: {{ .children | ternary "made-by-a-controller" "not-made-by-a-controller" }}
      expression: {{ printf (.children | ternary "(%s)" "!(%s)") (include "joulegate.child" .root) | quote }}
    {{- include "joulegate.conditions" .root | nindent 4 }}
  rules:
    {{- include "joulegate.rules" .root | nindent 4 }}
{{- end }}
