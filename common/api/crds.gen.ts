// Made by scripts/crds.ts from deploy/crds. Do not edit.
import type { ResourceDefinition } from "./resources.ts";

/** Each kind of deploy/crds with its schema. */
export const RESOURCE_DEFINITIONS: readonly ResourceDefinition[] = [
  {
    apiVersion: "certificates.mesh.gloo.solo.io/v1",
    kind: "CertificateRequest",
    plural: "certificaterequests",
    schema: {
      type: "object",
      required: ["spec"],
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        spec: { type: "object", properties: { certificateSigningRequest: { type: "string", format: "byte" } } },
        status: {
          type: "object",
          properties: {
            observedGeneration: { type: "integer", format: "int64" },
            error: { type: "string" },
            state: { type: "string", enum: ["PENDING", "FINISHED", "FAILED"] },
            signedCertificate: { type: "string", format: "byte" },
            signingRootCa: { type: "string", format: "byte" },
            certChain: { type: "string", format: "byte" },
          },
        },
      },
    },
  },
  {
    apiVersion: "certificates.mesh.gloo.solo.io/v1",
    kind: "IssuedCertificate",
    plural: "issuedcertificates",
    schema: {
      type: "object",
      required: ["spec"],
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        spec: {
          type: "object",
          not: { required: ["glooMeshCa", "agentCa"] },
          properties: {
            hosts: { type: "array", items: { type: "string" } },
            org: { type: "string" },
            signingCertificateSecret: {
              type: "object",
              properties: { name: { type: "string" }, namespace: { type: "string" } },
            },
            issuedCertificateSecret: {
              type: "object",
              properties: { name: { type: "string" }, namespace: { type: "string" } },
            },
            podBounceDirective: {
              type: "object",
              properties: { name: { type: "string" }, namespace: { type: "string" } },
            },
            certOptions: {
              type: "object",
              properties: {
                ttlDays: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                rsaKeySizeBytes: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                orgName: { type: "string" },
                secretRotationGracePeriodRatio: { type: "number", format: "float" },
              },
            },
            glooMeshCa: {
              type: "object",
              properties: {
                signingCertificateSecret: {
                  type: "object",
                  properties: { name: { type: "string" }, namespace: { type: "string" } },
                },
              },
            },
            agentCa: {
              type: "object",
              properties: {
                vault: {
                  type: "object",
                  allOf: [
                    { not: { required: ["caBundle", "caLocalPath"] } },
                    { not: { required: ["tokenSecretRef", "kubernetesAuth"] } },
                  ],
                  properties: {
                    caPath: { type: "string" },
                    csrPath: { type: "string" },
                    server: { type: "string" },
                    caBundle: { type: "string", format: "byte" },
                    caLocalPath: { type: "string" },
                    namespace: { type: "string" },
                    tokenSecretRef: {
                      type: "object",
                      properties: { name: { type: "string" }, namespace: { type: "string" } },
                    },
                    kubernetesAuth: {
                      type: "object",
                      not: { required: ["serviceAccountRef", "mountedSaPath"] },
                      properties: {
                        mountPath: { type: "string" },
                        role: { type: "string" },
                        secretTokenKey: { type: "string" },
                        serviceAccountRef: {
                          type: "object",
                          properties: { name: { type: "string" }, namespace: { type: "string" } },
                        },
                        mountedSaPath: { type: "string" },
                      },
                    },
                  },
                },
              },
            },
            rotationState: {
              type: "string",
              enum: [
                "NOT_ROTATING",
                "PREVIOUS_CA",
                "ADDING_NEW_ROOT",
                "PROPAGATING_NEW_INTERMEDIATE",
                "DELETING_OLD_ROOT",
                "VERIFYING",
                "VERIFIED",
                "ROLLING_BACK",
                "FINISHED",
                "FAILED",
              ],
            },
            mesh: { type: "object", properties: { name: { type: "string" }, namespace: { type: "string" } } },
            virtualMesh: { type: "object", properties: { name: { type: "string" }, namespace: { type: "string" } } },
            installation: {
              type: "object",
              properties: {
                namespace: { type: "string" },
                deployment: { type: "string" },
                serviceAccounts: { type: "array", items: { type: "string" } },
              },
            },
          },
        },
        status: {
          type: "object",
          properties: {
            observedGeneration: { type: "integer", format: "int64" },
            error: { type: "string" },
            state: { type: "string", enum: ["PENDING", "REQUESTED", "ISSUED", "FINISHED", "FAILED"] },
            appliedGlooMeshCa: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            appliedAgentCa: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            observedRotationState: {
              type: "string",
              enum: [
                "NOT_ROTATING",
                "PREVIOUS_CA",
                "ADDING_NEW_ROOT",
                "PROPAGATING_NEW_INTERMEDIATE",
                "DELETING_OLD_ROOT",
                "VERIFYING",
                "VERIFIED",
                "ROLLING_BACK",
                "FINISHED",
                "FAILED",
              ],
            },
            replicas: {
              type: "array",
              "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["podUid"],
              items: {
                type: "object",
                required: ["podUid"],
                properties: {
                  podName: { type: "string" },
                  podUid: { type: "string" },
                  state: { type: "string", enum: ["PENDING", "REQUESTED", "ISSUED", "FINISHED", "FAILED"] },
                  error: {
                    type: "object",
                    properties: { code: { type: "string" }, message: { type: "string" }, hint: { type: "string" } },
                  },
                  serial: { type: "string" },
                  subjectKeyId: { type: "string" },
                  rootSha256: { type: "string" },
                  issuer: { type: "string" },
                  notBefore: { type: "string", format: "date-time" },
                  notAfter: { type: "string", format: "date-time" },
                  renewAt: { type: "string", format: "date-time" },
                  evidence: { type: "string" },
                  warnings: { type: "array", items: { type: "string" } },
                  vaultServer: { type: "string" },
                  connected: { type: "boolean" },
                  podNamespace: { type: "string" },
                  orderVersion: { type: "string" },
                  directory: { type: "string" },
                  agent: { type: "string" },
                  challengedBy: { type: "string" },
                },
              },
            },
            notAfter: { type: "string", format: "date-time" },
            detached: { type: "boolean" },
            conditions: {
              type: "array",
              "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["type"],
              items: {
                type: "object",
                required: ["type", "status", "lastTransitionTime", "reason", "message"],
                properties: {
                  type: { type: "string" },
                  status: { type: "string", enum: ["True", "False", "Unknown"] },
                  observedGeneration: { type: "integer", format: "int64" },
                  lastTransitionTime: { type: "string", format: "date-time" },
                  reason: { type: "string" },
                  message: { type: "string" },
                },
              },
            },
          },
        },
      },
    },
  },
  {
    apiVersion: "certificates.mesh.gloo.solo.io/v1",
    kind: "PodBounceDirective",
    plural: "podbouncedirectives",
    schema: {
      type: "object",
      required: ["spec"],
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        spec: {
          type: "object",
          properties: {
            podsToBounce: {
              type: "array",
              items: {
                type: "object",
                properties: {
                  namespace: { type: "string" },
                  labels: { type: "object", additionalProperties: { type: "string" } },
                  waitForReplicas: { type: "integer", format: "int64" },
                  rootCertSync: {
                    type: "object",
                    properties: {
                      secretRef: {
                        type: "object",
                        properties: { name: { type: "string" }, namespace: { type: "string" } },
                      },
                      secretKey: { type: "string" },
                      configMapRef: {
                        type: "object",
                        properties: { name: { type: "string" }, namespace: { type: "string" } },
                      },
                      configMapKey: { type: "string" },
                    },
                  },
                },
              },
            },
            issuedCertificate: {
              type: "object",
              properties: { name: { type: "string" }, namespace: { type: "string" } },
            },
            rootSha256: { type: "string" },
            restartRequestedAt: { type: "string", format: "date-time" },
          },
        },
        status: {
          type: "object",
          properties: {
            observedGeneration: { type: "integer", format: "int64" },
            podsBounced: {
              type: "array",
              items: { type: "object", properties: { bouncedPods: { type: "array", items: { type: "string" } } } },
            },
            state: { type: "string", enum: ["PENDING", "BOUNCING_PODS", "FINISHED", "FAILED"] },
            error: { type: "string" },
            message: { type: "string" },
            restarted: { type: "integer", format: "int64" },
            remaining: { type: "integer", format: "int64" },
            unmanaged: { type: "array", items: { type: "string" } },
            conditions: {
              type: "array",
              "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["type"],
              items: {
                type: "object",
                required: ["type", "status", "lastTransitionTime", "reason", "message"],
                properties: {
                  type: { type: "string" },
                  status: { type: "string", enum: ["True", "False", "Unknown"] },
                  observedGeneration: { type: "integer", format: "int64" },
                  lastTransitionTime: { type: "string", format: "date-time" },
                  reason: { type: "string" },
                  message: { type: "string" },
                },
              },
            },
          },
        },
      },
    },
  },
  {
    apiVersion: "discovery.mesh.gloo.solo.io/v1",
    kind: "Mesh",
    plural: "meshes",
    schema: {
      type: "object",
      required: ["spec"],
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        spec: {
          type: "object",
          properties: {
            istio: {
              type: "object",
              properties: {
                installation: {
                  type: "object",
                  properties: {
                    namespace: { type: "string" },
                    cluster: { type: "string" },
                    podLabels: { type: "object", additionalProperties: { type: "string" } },
                    version: { type: "string" },
                    region: { type: "string" },
                    deployment: { type: "string" },
                  },
                },
                trustDomain: { type: "string" },
                istiodServiceAccount: { type: "string" },
                ingressGateways: {
                  type: "array",
                  items: {
                    type: "object",
                    properties: {
                      name: { type: "string" },
                      namespace: { type: "string" },
                      workloadLabels: { type: "object", additionalProperties: { type: "string" } },
                      dnsName: { type: "string" },
                      ip: { type: "string" },
                      externalAddress: { type: "string" },
                      externalTlsPort: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                      tlsContainerPort: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                    },
                  },
                },
                smartDnsProxyingEnabled: { type: "boolean" },
                rootNamespace: { type: "string" },
              },
            },
            agentInfo: { type: "object", properties: { agentNamespace: { type: "string" } } },
            issuedCertificateStatus: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
          },
        },
        status: {
          type: "object",
          properties: {
            observedGeneration: { type: "integer", format: "int64" },
            appliedVirtualMesh: {
              type: "object",
              properties: {
                ref: { type: "object", properties: { name: { type: "string" }, namespace: { type: "string" } } },
                observedGeneration: { type: "integer", format: "int64" },
                acceptanceOrder: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
              },
            },
            appliedVirtualDestinations: {
              type: "array",
              items: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            },
            appliedEastWestIngressGateways: {
              type: "array",
              items: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            },
            removal: {
              type: "object",
              properties: {
                virtualMesh: {
                  type: "object",
                  properties: { name: { type: "string" }, namespace: { type: "string" } },
                },
                since: { type: "string", format: "date-time" },
              },
            },
            issuedCertificate: {
              type: "object",
              properties: {
                epoch: { type: "integer", format: "int64" },
                acknowledgedVersion: { type: "string" },
                rejected: { type: "string" },
                rejectedVersion: { type: "string" },
                acknowledgedRemoval: { type: "string", format: "date-time" },
                observedVersion: { type: "string" },
                state: { type: "string", enum: ["PENDING", "REQUESTED", "ISSUED", "FINISHED", "FAILED"] },
                error: {
                  type: "object",
                  properties: { code: { type: "string" }, message: { type: "string" }, hint: { type: "string" } },
                },
                notAfter: { type: "string", format: "date-time" },
                detached: { type: "boolean" },
                replicas: {
                  type: "array",
                  items: {
                    type: "object",
                    required: ["podUid"],
                    properties: {
                      podUid: { type: "string" },
                      podName: { type: "string" },
                      state: { type: "string", enum: ["PENDING", "REQUESTED", "ISSUED", "FINISHED", "FAILED"] },
                      error: {
                        type: "object",
                        properties: { code: { type: "string" }, message: { type: "string" }, hint: { type: "string" } },
                      },
                      serial: { type: "string" },
                      subjectKeyId: { type: "string" },
                      rootSha256: { type: "string" },
                      issuer: { type: "string" },
                      notBefore: { type: "string", format: "date-time" },
                      notAfter: { type: "string", format: "date-time" },
                      renewAt: { type: "string", format: "date-time" },
                      evidence: { type: "string" },
                      warnings: { type: "array", items: { type: "string" } },
                      vaultServer: { type: "string" },
                      connected: { type: "boolean" },
                      podNamespace: { type: "string" },
                      orderVersion: { type: "string" },
                      directory: { type: "string" },
                      agent: { type: "string" },
                    },
                  },
                },
                podBounce: {
                  type: "object",
                  properties: {
                    state: { type: "string", enum: ["PENDING", "BOUNCING_PODS", "FINISHED", "FAILED"] },
                    message: { type: "string" },
                    restarted: { type: "integer", format: "int64" },
                    remaining: { type: "integer", format: "int64" },
                    unmanaged: { type: "array", items: { type: "string" } },
                  },
                },
              },
            },
            conditions: {
              type: "array",
              "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["type"],
              items: {
                type: "object",
                required: ["type", "status", "lastTransitionTime", "reason", "message"],
                properties: {
                  type: { type: "string" },
                  status: { type: "string", enum: ["True", "False", "Unknown"] },
                  observedGeneration: { type: "integer", format: "int64" },
                  lastTransitionTime: { type: "string", format: "date-time" },
                  reason: { type: "string" },
                  message: { type: "string" },
                },
              },
            },
          },
        },
      },
    },
  },
  {
    apiVersion: "multicluster.solo.io/v1alpha1",
    kind: "KubernetesCluster",
    plural: "kubernetesclusters",
    schema: {
      type: "object",
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        spec: {
          type: "object",
          properties: {
            secretName: { type: "string" },
            clusterDomain: { type: "string" },
            providerInfo: {
              type: "object",
              properties: {
                eks: {
                  type: "object",
                  properties: {
                    arn: { type: "string" },
                    accountId: { type: "string" },
                    region: { type: "string" },
                    name: { type: "string" },
                  },
                },
              },
            },
          },
        },
        status: {
          type: "object",
          properties: {
            status: {
              type: "array",
              items: {
                type: "object",
                properties: {
                  state: { type: "string", enum: ["PENDING", "PROCESSING", "INVALID", "FAILED", "ACCEPTED"] },
                  message: { type: "string" },
                  observedGeneration: { type: "integer", format: "int64" },
                  processingTime: { type: "string", format: "date-time" },
                  owner: { type: "string" },
                },
              },
            },
            namespace: { type: "string" },
            policyRules: {
              type: "array",
              items: {
                type: "object",
                properties: {
                  verbs: { type: "array", items: { type: "string" } },
                  apiGroups: { type: "array", items: { type: "string" } },
                  resources: { type: "array", items: { type: "string" } },
                  resourceNames: { type: "array", items: { type: "string" } },
                  nonResourceUrls: { type: "array", items: { type: "string" } },
                },
              },
            },
            identity: {
              type: "object",
              properties: {
                state: { type: "string", enum: ["REGISTERED", "ENROLLED", "REVOKED"] },
                current: {
                  type: "object",
                  properties: {
                    serial: { type: "string" },
                    fingerprint: { type: "string" },
                    keyHash: { type: "string" },
                    notAfter: { type: "string", format: "date-time" },
                    trust: { type: "string" },
                  },
                },
                next: {
                  type: "object",
                  properties: {
                    serial: { type: "string" },
                    fingerprint: { type: "string" },
                    keyHash: { type: "string" },
                    notAfter: { type: "string", format: "date-time" },
                    trust: { type: "string" },
                  },
                },
                previous: {
                  type: "object",
                  properties: {
                    serial: { type: "string" },
                    fingerprint: { type: "string" },
                    keyHash: { type: "string" },
                    notAfter: { type: "string", format: "date-time" },
                    trust: { type: "string" },
                    refusedFrom: { type: "string", format: "date-time" },
                  },
                },
                token: {
                  type: "object",
                  properties: {
                    id: { type: "string" },
                    secretHash: { type: "string" },
                    expiresAt: { type: "string", format: "date-time" },
                    failures: { type: "integer", format: "int64" },
                    usedAt: { type: "string", format: "date-time" },
                    usedByKeyHash: { type: "string" },
                  },
                },
              },
            },
            session: {
              type: "object",
              properties: {
                epoch: { type: "integer", format: "int64" },
                sessionId: { type: "string" },
                replica: { type: "string" },
                connected: { type: "boolean" },
                peer: { type: "string" },
                agentVersion: { type: "string" },
                connectedAt: { type: "string", format: "date-time" },
                endedAt: { type: "string", format: "date-time" },
                endReason: { type: "string" },
                clockOffsetMs: { type: "integer", format: "int64" },
                turns: { type: "array", items: { type: "string" } },
              },
            },
          },
        },
      },
    },
  },
  {
    apiVersion: "networking.mesh.gloo.solo.io/v1",
    kind: "VirtualMesh",
    plural: "virtualmeshes",
    schema: {
      type: "object",
      required: ["spec"],
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        spec: {
          type: "object",
          properties: {
            meshes: {
              type: "array",
              items: { type: "object", properties: { name: { type: "string" }, namespace: { type: "string" } } },
            },
            mtlsConfig: {
              type: "object",
              not: { required: ["shared", "limited"] },
              properties: {
                shared: {
                  type: "object",
                  not: { required: ["rootCertificateAuthority", "intermediateCertificateAuthority"] },
                  properties: {
                    rootCertificateAuthority: {
                      type: "object",
                      not: { required: ["generated", "secret"] },
                      properties: {
                        generated: {
                          type: "object",
                          properties: {
                            ttlDays: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                            rsaKeySizeBytes: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                            orgName: { type: "string" },
                            secretRotationGracePeriodRatio: { type: "number", format: "float" },
                          },
                        },
                        secret: {
                          type: "object",
                          properties: { name: { type: "string" }, namespace: { type: "string" } },
                        },
                      },
                    },
                    intermediateCertificateAuthority: {
                      type: "object",
                      properties: {
                        vault: {
                          type: "object",
                          allOf: [
                            { not: { required: ["caBundle", "caLocalPath"] } },
                            { not: { required: ["tokenSecretRef", "kubernetesAuth"] } },
                          ],
                          properties: {
                            caPath: { type: "string" },
                            csrPath: { type: "string" },
                            server: { type: "string" },
                            caBundle: { type: "string", format: "byte" },
                            caLocalPath: { type: "string" },
                            namespace: { type: "string" },
                            tokenSecretRef: {
                              type: "object",
                              properties: { name: { type: "string" }, namespace: { type: "string" } },
                            },
                            kubernetesAuth: {
                              type: "object",
                              not: { required: ["serviceAccountRef", "mountedSaPath"] },
                              properties: {
                                mountPath: { type: "string" },
                                role: { type: "string" },
                                secretTokenKey: { type: "string" },
                                serviceAccountRef: {
                                  type: "object",
                                  properties: { name: { type: "string" }, namespace: { type: "string" } },
                                },
                                mountedSaPath: { type: "string" },
                              },
                            },
                          },
                        },
                      },
                    },
                    intermediateCertOptions: {
                      type: "object",
                      properties: {
                        ttlDays: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                        rsaKeySizeBytes: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                        orgName: { type: "string" },
                        secretRotationGracePeriodRatio: { type: "number", format: "float" },
                      },
                    },
                  },
                },
                limited: { type: "object" },
                autoRestartPods: { type: "boolean" },
                rotationVerificationMethod: {
                  type: "object",
                  not: { required: ["none", "manual"] },
                  properties: { none: { type: "object" }, manual: { type: "object" } },
                },
                rotationStrategy: { type: "string", enum: ["MULTI_ROOT", "NONE"] },
              },
            },
            federation: {
              type: "object",
              properties: {
                selectors: {
                  type: "array",
                  items: {
                    type: "object",
                    properties: {
                      destinationSelectors: {
                        type: "array",
                        items: {
                          type: "object",
                          properties: {
                            kubeServiceMatcher: {
                              type: "object",
                              properties: {
                                labels: { type: "object", additionalProperties: { type: "string" } },
                                namespaces: { type: "array", items: { type: "string" } },
                                clusters: { type: "array", items: { type: "string" } },
                              },
                            },
                            kubeServiceRefs: {
                              type: "object",
                              properties: {
                                services: {
                                  type: "array",
                                  items: {
                                    type: "object",
                                    properties: {
                                      name: { type: "string" },
                                      namespace: { type: "string" },
                                      clusterName: { type: "string" },
                                    },
                                  },
                                },
                              },
                            },
                          },
                        },
                      },
                      meshes: {
                        type: "array",
                        items: {
                          type: "object",
                          properties: { name: { type: "string" }, namespace: { type: "string" } },
                        },
                      },
                    },
                  },
                },
                permissive: { type: "object" },
                flatNetwork: { type: "boolean" },
                hostnameSuffix: { type: "string" },
                tcpKeepalive: {
                  type: "object",
                  properties: {
                    probes: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                    time: { type: "string" },
                    interval: { type: "string" },
                  },
                },
                eastWestIngressGatewaySelectors: {
                  type: "array",
                  items: {
                    type: "object",
                    properties: {
                      destinationSelectors: {
                        type: "array",
                        items: {
                          type: "object",
                          properties: {
                            kubeServiceMatcher: {
                              type: "object",
                              properties: {
                                labels: { type: "object", additionalProperties: { type: "string" } },
                                namespaces: { type: "array", items: { type: "string" } },
                                clusters: { type: "array", items: { type: "string" } },
                              },
                            },
                            kubeServiceRefs: {
                              type: "object",
                              properties: {
                                services: {
                                  type: "array",
                                  items: {
                                    type: "object",
                                    properties: {
                                      name: { type: "string" },
                                      namespace: { type: "string" },
                                      clusterName: { type: "string" },
                                    },
                                  },
                                },
                              },
                            },
                          },
                        },
                      },
                      portName: { type: "string" },
                    },
                  },
                },
                ingressGatewaySelectors: {
                  type: "array",
                  items: {
                    type: "object",
                    not: { required: ["portName", "overrideHostInfo"] },
                    properties: {
                      destinationSelectors: {
                        type: "array",
                        items: {
                          type: "object",
                          properties: {
                            kubeServiceMatcher: {
                              type: "object",
                              properties: {
                                labels: { type: "object", additionalProperties: { type: "string" } },
                                namespaces: { type: "array", items: { type: "string" } },
                                clusters: { type: "array", items: { type: "string" } },
                              },
                            },
                            kubeServiceRefs: {
                              type: "object",
                              properties: {
                                services: {
                                  type: "array",
                                  items: {
                                    type: "object",
                                    properties: {
                                      name: { type: "string" },
                                      namespace: { type: "string" },
                                      clusterName: { type: "string" },
                                    },
                                  },
                                },
                              },
                            },
                          },
                        },
                      },
                      portName: { type: "string" },
                      overrideHostInfo: {
                        type: "object",
                        properties: {
                          addr: { type: "string" },
                          port: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                        },
                      },
                    },
                  },
                },
                tlsEnforcementSettings: {
                  type: "object",
                  properties: {
                    enforcementMode: { type: "string", enum: ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] },
                  },
                },
              },
            },
            globalAccessPolicy: { type: "string", enum: ["MESH_DEFAULT", "ENABLED", "DISABLED"] },
          },
        },
        status: {
          type: "object",
          properties: {
            observedGeneration: { type: "integer", format: "int64" },
            state: { type: "string", enum: ["PENDING", "ACCEPTED", "INVALID", "FAILED"] },
            errors: { type: "array", items: { type: "string" } },
            meshes: {
              type: "object",
              "x-kubernetes-map-type": "atomic",
              additionalProperties: {
                type: "object",
                properties: {
                  acceptanceOrder: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                  state: { type: "string", enum: ["PENDING", "ACCEPTED", "INVALID", "FAILED"] },
                  errors: { type: "array", items: { type: "string" } },
                  warnings: { type: "array", items: { type: "string" } },
                },
              },
            },
            destinations: {
              type: "object",
              additionalProperties: {
                type: "object",
                properties: {
                  acceptanceOrder: { type: "integer", format: "int64", minimum: 0, maximum: 4294967295 },
                  state: { type: "string", enum: ["PENDING", "ACCEPTED", "INVALID", "FAILED"] },
                  errors: { type: "array", items: { type: "string" } },
                  warnings: { type: "array", items: { type: "string" } },
                },
              },
            },
            conditions: {
              type: "array",
              "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["type"],
              items: {
                type: "object",
                required: ["type", "status", "lastTransitionTime", "reason", "message"],
                properties: {
                  type: { type: "string" },
                  status: { type: "string", enum: ["True", "False", "Unknown"] },
                  observedGeneration: { type: "integer", format: "int64", minimum: 0 },
                  lastTransitionTime: { type: "string", format: "date-time" },
                  reason: { type: "string" },
                  message: { type: "string" },
                },
              },
            },
            deployedSharedTrust: {
              type: "object",
              properties: {
                rootCertificateAuthority: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                intermediateCertificateAuthority: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                intermediateCertOptions: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                rootSha256: { type: "string" },
                rootProvedBy: { type: "string" },
              },
            },
            rotation: {
              type: "object",
              properties: {
                history: {
                  type: "array",
                  items: {
                    type: "object",
                    properties: {
                      timestamp: { type: "string", format: "date-time" },
                      state: {
                        type: "string",
                        enum: [
                          "NOT_ROTATING",
                          "PREVIOUS_CA",
                          "ADDING_NEW_ROOT",
                          "PROPAGATING_NEW_INTERMEDIATE",
                          "DELETING_OLD_ROOT",
                          "VERIFYING",
                          "VERIFIED",
                          "ROLLING_BACK",
                          "FINISHED",
                          "FAILED",
                        ],
                      },
                      message: { type: "string" },
                      errors: { type: "array", items: { type: "string" } },
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
];
