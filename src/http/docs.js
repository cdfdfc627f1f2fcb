// validatorUrl: null, or Swagger UI would ask a server elsewhere for a badge.
SwaggerUIBundle({ dom_id: '#ui', url: '/openapi.json', validatorUrl: null, deepLinking: true });
