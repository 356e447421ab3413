{{- define "serving.knows" -}}
{{- if .root.Capabilities.APIVersions.Has .api }}yes{{ end }}
{{- end }}
