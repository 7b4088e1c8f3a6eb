{{- define "ms2m.labels" -}}
app.kubernetes.io/name: ms2m
app.kubernetes.io/component: {{ . }}
{{- end }}
