{{- /* What all pods have in common. A container is (dict "root" $ "name" … "image" … "args" … "cpu" … "memory" …); `store`
      says where its bundles lie, `secrets` that it gets the salt and the tokens, `closed` that it gets no store at all. */}}

{{- define "serving.pod" -}}
serviceAccountName: {{ .root.Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
volumes:
  - {name: work, emptyDir: {sizeLimit: {{ .root.Values.space }}}} # bundles, the spool, the server's files; ends with the pod
  - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
  - {name: release, configMap: {name: {{ .root.Release.Name }}-release}}
  {{- with .secrets }}
  - {name: secrets, secret: {secretName: {{ . }}, defaultMode: 0440}}
  {{- end }}
{{- end }}

{{- define "serving.container" -}}
name: {{ .name }}
image: {{ .image }}
imagePullPolicy: IfNotPresent
args: {{ .args | toJson }}
env:
  - {name: ML_STORE_URL, value: {{ .store | default .root.Values.store.url | quote }}}
  {{- with .root.Values.online.secret }}
  - {name: ML_ONLINE_URL, valueFrom: {secretKeyRef: {name: {{ . }}, key: url}}}
  {{- end }}
envFrom:
  - configMapRef: {name: {{ include "serving.settingsName" .root }}}
  {{- if and .root.Values.store.secret (not .closed) }}
  - secretRef: {name: {{ .root.Values.store.secret }}}
  {{- end }}
resources: {requests: {cpu: {{ .cpu | quote }}, memory: {{ .memory }}}, limits: {memory: {{ .memory }}}}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
volumeMounts:
  - {name: work, mountPath: /var/ml}
  - {name: tmp, mountPath: /tmp}
  - {name: release, mountPath: /var/ml/releases/{{ .root.Values.environment }}, readOnly: true}
  {{- if .secrets }}
  - {name: secrets, mountPath: /var/ml/secrets, readOnly: true}
  {{- end }}
{{- end }}

{{- /* Brings the bundles of the release to this pod and proves them, unless they are in the image. */}}
{{- define "serving.fetch" -}}
{{- if eq .Values.bundlesFrom "store" -}}
initContainers:
  - {{ include "serving.container" (dict "root" . "name" "fetch" "image" .Values.images.serving "args" (list "fetch" "--to" "/var/ml/store") "cpu" .Values.cpu "memory" .Values.memory) | nindent 4 | trim }}
{{- end }}
{{- end }}

{{- define "serving.bundlesAt" -}}
{{ eq .Values.bundlesFrom "store" | ternary "/var/ml/store" "/app/bundles-store" }}
{{- end }}

{{- /* A job that ends, with its schedule: (dict "root" $ "part" … "schedule" … "pod" text of containers). */}}
{{- define "serving.cronjob" -}}
apiVersion: batch/v1
kind: CronJob
metadata: {{- include "serving.metadata" . | nindent 2 }}
spec:
  schedule: {{ .schedule | quote }}
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 300
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0 # the next run does what this one did not
      activeDeadlineSeconds: 10800
      template:
        metadata:
          labels: {{- include "serving.selector" . | nindent 12 }}
        spec:
          restartPolicy: Never
          {{- include "serving.pod" . | nindent 10 }}
          {{- .containers | nindent 10 }}
{{- end }}
