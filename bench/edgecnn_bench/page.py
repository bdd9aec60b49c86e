"""Pages from Jinja2 templates: values are escaped, and a value that is missing is an error."""

import jinja2


def render_page(package: str, template: str, **values: object) -> str:
    """Render a template that lies beside a package's modules.

    Args:
        package: Import name of the package.
        template: File name of the template; it may include files beside it.
        values: What the template uses; strings are escaped, ``Markup`` is not.

    Returns:
        The page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
