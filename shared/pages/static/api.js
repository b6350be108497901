"use strict";

const place = document.getElementById("api");
SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
  persistAuthorization: false,
});
