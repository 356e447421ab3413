{{- /* A part of the platform: redis, s3 or prometheus. Called with (dict "root" $ "part" …). */}}

{{- define "platform.selector" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "platform.metadata" -}}
name: {{ .root.Release.Name }}-{{ .part }}
labels:
  {{- include "platform.selector" . | nindent 2 }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "platform.service" -}}
apiVersion: v1
kind: Service
metadata: {{- include "platform.metadata" . | nindent 2 }}
spec:
  selector: {{- include "platform.selector" . | nindent 4 }}
  ports: [{name: {{ .part }}, port: {{ .port }}, targetPort: {{ .part }}}]
{{- end }}

{{- /* One pod with its volume: (dict "root" $ "part" … "image" … "user" … "size" … "container" text). */}}
{{- define "platform.keeper" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata: {{- include "platform.metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ .root.Release.Name }}-{{ .part }}
  selector:
    matchLabels: {{- include "platform.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "platform.selector" . | nindent 8 }}
    spec:
      {{- include "platform.pod" . | nindent 6 }}
      automountServiceAccountToken: false
      volumes: [{name: tmp, emptyDir: {sizeLimit: 64Mi}}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: {{ .size }}}}}
{{- end }}

{{- define "platform.pod" -}}
enableServiceLinks: false
securityContext: {runAsNonRoot: true, runAsUser: {{ .user }}, runAsGroup: {{ .user }}, fsGroup: {{ .user }}, seccompProfile: {type: RuntimeDefault}}
containers:
  - name: {{ .part }}
    image: {{ .image }}
    imagePullPolicy: IfNotPresent
    {{- .container | nindent 4 }}
    resources: {requests: {cpu: 100m, memory: {{ .memory }}}, limits: {memory: {{ .memory }}}}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts:
      - {name: data, mountPath: /data}
      - {name: tmp, mountPath: /tmp}
{{- end }}
