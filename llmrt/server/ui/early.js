// Not a module, so that it runs before the first paint: the chosen theme must not arrive after it.
try {
  const theme = localStorage.getItem("llmrt.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's theme it is.
}
