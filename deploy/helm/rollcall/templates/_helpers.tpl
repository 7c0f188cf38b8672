{{- define "rollcall.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Labels that tell one part of one release from all other pods; (list . "sync-worker"). */}}
{{- define "rollcall.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: rollcall
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "rollcall.labels" -}}
{{- $root := index . 0 -}}
{{ include "rollcall.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rollcall
{{- end -}}

{{- define "rollcall.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "rollcall.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "rollcall.probes" -}}
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* The same part on different nodes and zones, if there are any. */}}
{{- define "rollcall.spread" -}}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "rollcall.selector" $ | nindent 8 }}
{{- end }}
{{- end -}}

{{/* What the two services' own lists of variables, volumes and mounts begin with. */}}
{{- define "rollcall.serverEnv" -}}
{{- $prefix := index . 1 -}}
- {name: {{ $prefix }}__STORE__URL_FILE, value: /etc/rollcall/database/url}
- {name: {{ $prefix }}__KEYRING__KEY_FILE, value: /etc/rollcall/keyring/keyring}
- {name: {{ $prefix }}__SERVER__TLS_CERTIFICATE_FILE, value: /etc/rollcall/tls/tls.crt}
- {name: {{ $prefix }}__SERVER__TLS_KEY_FILE, value: /etc/rollcall/tls/tls.key}
- {name: {{ $prefix }}__TELEMETRY__FORMAT, value: json}
# Load balancers take notice before the port closes; calls under way end well after it.
- {name: {{ $prefix }}__DRAIN__DELAY, value: 10s}
- {name: {{ $prefix }}__DRAIN__TIMEOUT, value: 25s}
{{- end -}}

{{- define "rollcall.storeMounts" -}}
- {name: database, mountPath: /etc/rollcall/database, readOnly: true}
- {name: keyring, mountPath: /etc/rollcall/keyring, readOnly: true}
{{- end -}}

{{- define "rollcall.storeVolumes" -}}
- name: database
  secret:
    secretName: {{ .Values.database.secret }}
    defaultMode: 0440
    items:
      - {key: {{ .Values.database.key }}, path: url}
- name: keyring
  secret:
    secretName: {{ .Values.keyring.secret }}
    defaultMode: 0440
    items:
      - {key: {{ .Values.keyring.key }}, path: keyring}
{{- end -}}

{{- define "rollcall.common" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "rollcall.podSecurity" . | nindent 2 }}
{{- end -}}
