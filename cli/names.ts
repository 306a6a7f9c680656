/** "name.namespace", as the reference writes it. */
export const formatName = (name: { name: string; namespace: string } | undefined): string =>
  name ? `${name.name}.${name.namespace}` : "-";
