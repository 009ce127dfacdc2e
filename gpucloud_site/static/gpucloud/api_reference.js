// The API's reference: Swagger UI on the site's own document, nothing from elsewhere.
window.SwaggerUIBundle({
  url: "/v4/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  validatorUrl: null,
});
