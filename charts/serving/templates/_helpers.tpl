{{- /* Parts of a release: serving, stream, monitor, exporter, score, experiment, smoke. Called with (dict "root" $ "part" …). */}}

{{- define "serving.selector" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "serving.metadata" -}}
name: {{ .name | default (eq .part "serving" | ternary .root.Release.Name (printf "%s-%s" .root.Release.Name .part)) }}
labels:
  {{- include "serving.selector" . | nindent 2 }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* Fails loudly where a custom resource was asked for that the cluster does not know. */}}
{{- define "serving.needs" -}}
{{- if not (include "serving.knows" . ) }}
{{- fail (printf "%s needs %s, which this cluster does not know: install %s first, or switch it off (without a cluster: helm template --api-versions %s)" .value .api .what .api) }}
{{- end }}
{{- end }}

{{- /* The bundles that the release names: a change of them is a rolling update, any other change is not. */}}
{{- define "serving.bundles" -}}
{{- $told := fromYaml .Values.release }}
{{- with $told.Error }}{{ fail (printf "release is no YAML: %s" .) }}{{ end }}
{{- $bundles := list $told.champion }}
{{- range (($told.experiment).arms) }}{{ if not (contains "://" .bundle) }}{{ $bundles = append $bundles .bundle }}{{ end }}{{ end }}
{{- $bundles | uniq | sortAlpha | join " " }}
{{- end }}

{{- define "serving.experiment" -}}
{{- with (fromYaml .Values.release).experiment }}{{ .name }}{{ end }}
{{- end }}

{{- /* The services at a URL that the release asks beside its own bundles. */}}
{{- define "serving.remote" -}}
{{- $urls := list }}
{{- range ((fromYaml .Values.release).experiment).arms }}{{ if contains "://" .bundle }}{{ $urls = append $urls .bundle }}{{ end }}{{ end }}
{{- $urls | sortAlpha | join " and " }}
{{- end }}

{{- define "serving.workload" -}}
{apiVersion: {{ .Values.rollout.enabled | ternary "argoproj.io/v1alpha1" "apps/v1" }}, kind: {{ .Values.rollout.enabled | ternary "Rollout" "Deployment" }}, name: {{ .Release.Name }}}
{{- end }}

{{- /* Records worked on at once, by Little's law: arrivals a second times seconds each, which is seconds spent a second. */}}
{{- define "serving.concurrency" -}}
rate(ml_prediction_seconds_sum{namespace="{{ .Release.Namespace }}", service="{{ .Release.Name }}"}[1m])
{{- end }}
